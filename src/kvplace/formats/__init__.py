"""Files in and out: the fleet file, tables of models, the plan file."""
