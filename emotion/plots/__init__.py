"""Plots of metrics, recordings, finished runs and sweeps."""
