"""What an engine takes of a GPU: weights as loaded, KV cache, and everything else."""
