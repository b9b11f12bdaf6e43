"""Published weights: their layouts, their pickles, and the step that converts them."""
