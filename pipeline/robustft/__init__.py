"""robustft: five papers on adversarially robust fine-tuning, re-run end to end with proof of every number."""

__version__ = "0.1.0"
