"""Encoders, heads, and how they make a classifier."""
