"""Other people's solvers on kvplace's problems, one adapter per file."""
