"""The plan file, kvplace.plan/v1: JSON, CSV and Parquet, in and out, and its check."""
