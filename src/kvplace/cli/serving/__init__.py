"""Verbs that say what a plan serves, and how solvers compare."""
