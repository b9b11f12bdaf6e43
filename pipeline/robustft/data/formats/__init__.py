"""Readers of archives, pictures, lists and Matlab files, whatever data set they belong to."""
