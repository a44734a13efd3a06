"""Rules: what a user demands of a placement besides that everything fits."""
