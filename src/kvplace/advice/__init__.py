"""Why a plan is what it is, what would make it better, and how many GPUs are enough."""
