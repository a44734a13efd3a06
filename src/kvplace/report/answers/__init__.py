"""What each verb answers besides a plan, as text, JSON and CSV."""
