"""From configuration to steps: what there is to run, from what, into which files. Never imports torch."""
