"""Plots of metrics, recordings, finished runs and sweeps. Each `plot_…` function returns a Matplotlib figure."""
