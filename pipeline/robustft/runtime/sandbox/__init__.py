"""A function of ours in a confined process: files from elsewhere are decoded where they can do no harm."""
