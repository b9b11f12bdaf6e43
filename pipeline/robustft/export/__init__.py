"""Portable proof: what a finished scale measured, in forms that others read. Never imports torch."""
