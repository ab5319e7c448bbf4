"""Training: the loop, its two phases, and everything needed to go on after a stop."""
