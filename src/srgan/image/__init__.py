"""Pixels in, pixels out, without PyTorch: files, metadata, resize, tiles, metrics."""
