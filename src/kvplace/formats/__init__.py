"""Files in and out: the fleet file, spreadsheets, the plan file."""
