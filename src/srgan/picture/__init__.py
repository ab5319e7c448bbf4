"""Pictures as arrays: reading, writing, resizing, colour, geometry, scores. Never imports torch."""
