"""The problem as numbers, made once."""
