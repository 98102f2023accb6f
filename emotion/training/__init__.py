"""How a classifier is fitted."""
