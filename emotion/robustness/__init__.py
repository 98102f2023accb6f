"""Corruptions of recordings, and the evaluation of finished runs on them."""
