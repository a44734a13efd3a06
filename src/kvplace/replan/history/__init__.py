"""Re-planning over time: when it pays, and what would have become of it."""
