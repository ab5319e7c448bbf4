"""What SRGAN is: networks, losses, weights files."""
