"""Rules: what a user demands of a placement besides that everything fits.

One rule is one module of this folder.
"""
