"""A safe order of steps from one placement to another."""
