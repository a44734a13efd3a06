"""Files of a model, on disk and on the hub: weights, headers and configs."""
