"""One file per command: flags, one call, print."""
