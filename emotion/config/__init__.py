"""The typed configuration: meaning and allowed values of every key, and the classes that it may name."""
