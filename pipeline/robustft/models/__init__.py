"""Networks: backbones, heads, tunings, checkpoints, and readers of published weights.

Imports go one way: pretrained -> checkpoint -> tunings, self_supervised -> classifier, backbones, text_heads.
"""
