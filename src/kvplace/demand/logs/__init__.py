"""Demand from request logs: rows, columns, clocks, and windows of them."""
