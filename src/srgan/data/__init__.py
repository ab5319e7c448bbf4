"""Data: find, fetch, check and pack pictures, and draw the crops of a step from them."""
