"""Predictions, the figures made of them, and pictures."""
