"""Plans checked and read back: nothing that a file states is taken on trust."""
