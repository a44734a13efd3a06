"""Demand: from request logs and monitoring to rates per model."""
