"""How it learns: steps, phases, the loop, a run's files."""
