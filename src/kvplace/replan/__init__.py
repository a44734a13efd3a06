"""From what runs to what should run: fewest moves, in a safe order, as a proposal."""
