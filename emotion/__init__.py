"""Train, honestly evaluate and use models that recognise emotion in recordings of people."""

__version__ = "0.3.0"
