"""Pictures made larger: engines, exact tiles, the `Upscaler`, and the command. Imports nothing by itself."""
