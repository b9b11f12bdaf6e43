"""Building the container images of config/images.yaml with the program that a machine has."""
