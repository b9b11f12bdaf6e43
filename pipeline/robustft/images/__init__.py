"""Build the container images of config/images.yaml with a program that the machine has."""
