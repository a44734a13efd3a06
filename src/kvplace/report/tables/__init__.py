"""Tables for people: a plan, windows of demand, scores."""
