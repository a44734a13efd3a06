"""The version of kvplace, stated once."""

__version__ = "0.1.0"
