"""The commands `train` and `evaluate`, composed by Hydra. Distributed training starts these files again as scripts."""
