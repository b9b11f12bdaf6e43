"""Attacking finished models; what happened to each image goes into a ledger."""
