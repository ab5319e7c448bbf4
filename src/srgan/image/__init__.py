"""Pixels in, pixels out, without PyTorch: files, metadata, animations, resize, metrics."""
