"""YAML and JSON text to plain data with the line of each value, and plain data to JSON text."""
