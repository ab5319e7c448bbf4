"""Scores on test sets, beside the bicubic control and the paper's table."""
