"""Plain data against schemas: every fault at once, each with its path and line."""
