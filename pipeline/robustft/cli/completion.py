"""`robustft completion`: a script that lets a shell complete commands and options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustft.cli.parser import CommandLine


def add_completion(line: CommandLine) -> None:
    """Add the subcommand `completion` to the command line, whose parser it prints."""

    def run(arguments: argparse.Namespace) -> int:
        import shtab  # of all commands only this one needs it

        print(shtab.complete(line.listed(), shell=arguments.shell))
        return 0

    text = 'print a script that completes commands: eval "$(robustft completion bash)"'
    command = line.add("completion", text, run, plans=False)
    command.add_argument("shell", nargs="?", default="bash", choices=("bash", "zsh", "tcsh"))
