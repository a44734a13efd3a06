"""The fleet file, kvplace.fleet/v1: its schema, to a `Problem` and back."""
