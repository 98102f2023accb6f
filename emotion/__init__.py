"""Train, honestly evaluate and use models that recognise emotion in recordings of people."""

__version__ = "0.1.0"
