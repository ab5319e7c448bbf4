"""A model in another format, compared with its source before it is written."""
