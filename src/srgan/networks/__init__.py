"""The networks of the paper: generator and discriminator (figure 4), and VGG19's features."""
