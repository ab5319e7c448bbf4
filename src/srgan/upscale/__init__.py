"""A generator and an image make a larger image: tiles, engines, files."""
