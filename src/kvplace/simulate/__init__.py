"""What a plan serves: engines under vLLM's rules on shared GPUs, event by event."""
