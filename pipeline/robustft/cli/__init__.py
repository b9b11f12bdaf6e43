"""The `robustft` command."""

from robustft.cli.parser import main

__all__ = ["main"]
