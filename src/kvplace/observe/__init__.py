"""What runs now, read and never changed: one file per runtime."""
