"""Local search: moves, swaps and wider exchanges."""
