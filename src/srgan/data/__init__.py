"""Images for training and testing: folders, crops, packs, downloads, checks."""
