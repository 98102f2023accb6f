"""Prepared arrays and split CSVs to batches."""
