"""Runbooks: the commands that carry a proposal out, step by step, on each runtime."""
