"""Placement search and bounds: numbers in, numbers out."""
