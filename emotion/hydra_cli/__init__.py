"""The commands that Hydra composes, `train` and `evaluate`. Several devices start a file here again, as a script."""
