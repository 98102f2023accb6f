"""Media to arrays on disk, once."""
