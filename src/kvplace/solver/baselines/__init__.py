"""Placement rules of other schedulers."""
