"""Configuration linear programs: master, pricing, knapsacks, rounding."""
