"""Tables of models and GPUs, CSV or Parquet, to a `Problem`."""
