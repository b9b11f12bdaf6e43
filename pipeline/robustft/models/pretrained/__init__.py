"""Published weights: readers of their file formats, safe unpickling, and the step that converts them."""
