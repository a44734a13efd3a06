"""Benchmark families and their rivals, measured side by side."""
