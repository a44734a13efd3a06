"""Decisions and optima by exhaustive search."""
