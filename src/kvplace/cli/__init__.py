"""The command line: one file per verb. Each parses, calls the library and prints."""
