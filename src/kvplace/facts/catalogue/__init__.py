"""Tables that ship with kvplace: GPU types and common models, each row with its source."""
