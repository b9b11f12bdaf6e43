"""One loader for each data set that has a layout of its own."""
