"""Architectures: from images to features."""
