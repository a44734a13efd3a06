"""Verbs about a fleet that runs: what runs now, and what to change."""
