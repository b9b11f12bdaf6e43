"""Readers of archives, pictures, lists and Matlab files of any data set."""
