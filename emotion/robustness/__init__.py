"""Evaluation on corrupted recordings."""
