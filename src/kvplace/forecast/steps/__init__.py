"""Where times of steps come from: computed from a shape, or measured of an engine."""
