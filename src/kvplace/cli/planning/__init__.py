"""Verbs that make a plan, judge it, and turn it into files."""
