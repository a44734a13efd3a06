"""Claims about every placement, and the checker that can say no."""
