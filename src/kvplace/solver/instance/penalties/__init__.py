"""The amount by which each kind of rule fails, kept up as an assignment changes.

One kind of rule is one module of this folder.
"""
