"""The fleet-scale path of ``auto``: arrays and compiled kernels, the same plan on any threads."""
