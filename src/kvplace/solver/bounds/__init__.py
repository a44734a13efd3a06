"""Lower bounds on the optimum, with certificates."""
