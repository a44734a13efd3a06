"""What a command line says: its words, the variables in them, and the engine that it starts."""
