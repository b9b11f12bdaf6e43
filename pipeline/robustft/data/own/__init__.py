"""Images of a user's own: a folder of class folders, or the arrays of an .npz file."""
