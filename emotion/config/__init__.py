"""The typed configuration: what every key means, which values it takes, and what may be built from it."""
