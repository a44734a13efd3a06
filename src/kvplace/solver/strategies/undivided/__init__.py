"""The strategy for one undivided replica of each model, free to go anywhere."""
