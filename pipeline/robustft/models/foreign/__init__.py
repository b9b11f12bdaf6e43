"""Models that this project did not make: files of state dicts, and the architectures that they fit."""
