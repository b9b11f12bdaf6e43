"""Data sets: decoded once into one file with fixed splits, then read by training and evaluation."""
