"""The whole story of training and of evaluating a run, from a configuration to files."""
