"""Demand from Prometheus: its client, the names that engines export, windows of counters."""
