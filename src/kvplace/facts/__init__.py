"""Facts about hardware and models, each with its source."""
