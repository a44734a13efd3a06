"""Verbs that make a fleet file, or tell what goes into one."""
