"""Who is where, and what that puts on each GPU, kept up to date."""
