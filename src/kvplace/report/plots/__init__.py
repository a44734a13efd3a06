"""Figures for slides, and the one way in which a figure becomes a file."""
