"""The download step and the transfers under it."""
