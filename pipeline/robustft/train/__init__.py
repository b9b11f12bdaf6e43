"""One training loop for every method and for adversarial pre-training."""
