"""Why a plan is what it is, and what would make it better."""
