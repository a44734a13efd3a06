"""How many nodes are enough for a target, with a proof that fewer are not."""
