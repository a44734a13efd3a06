"""What a placement is worth: the only code that computes it, and what must hold."""
