"""Searches that change many models at once."""
