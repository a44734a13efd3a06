"""What runs now, by the files that started it: one module per kind of file."""
