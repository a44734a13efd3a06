"""Kinds of steps of a descent, one per file."""
