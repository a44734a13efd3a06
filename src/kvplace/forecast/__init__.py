"""How long an engine takes: steps, prefills, and the share of a GPU's time that a model needs."""
