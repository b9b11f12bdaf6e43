"""Attacks on finished models. A ledger holds the outcome of each image."""
