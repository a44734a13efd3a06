"""What a config says of a model: heads, layers, states, parameters, and what was not understood."""
