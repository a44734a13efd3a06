"""The strategy for thousands of undivided models and more, by compiled kernels."""
