"""Attacks: threat models, objectives, the one PGD, and AutoAttack."""
