"""Measurements: upscaling, training, data. Every number in docs/benchmarks.md comes from here."""
