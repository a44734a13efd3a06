"""The trusted base: standard library only."""
