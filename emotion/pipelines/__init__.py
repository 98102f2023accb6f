"""Training and evaluation of a run, from a configuration to files."""
