"""Networks and heads of self-supervised pre-training: rotation, jigsaw, Selfie, and the three at once."""
