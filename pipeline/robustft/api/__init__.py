"""The functions behind `import robustft`: thin wrappers around the rooms of this package, for use as a library."""
