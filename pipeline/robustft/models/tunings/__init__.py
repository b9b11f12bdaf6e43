"""Tunings: which parts of a model are trained, and what is attached to it for that."""
