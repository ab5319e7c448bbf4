"""The parts of scripts/fuzz-inputs: base files, mutations, and what is done with a case."""
