"""The errors that a user reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class RobustftError(Exception):
    """An error that a user can act on: what failed, where, what was expected and observed, and what to do next.

    The command line prints it without a traceback and exits with status 2.

    >>> import robustft
    >>> try:
    ...     robustft.make_plan(scale="smoke", papers=["twinz"])
    ... except robustft.RobustftError as error:
    ...     print(str(error).splitlines()[-1].strip())
    to do:    did you mean 'twins'?
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        observed: object = None,
        next_step: str | None = None,
    ) -> None:
        lines = [what]
        for label, value in (("where", where), ("expected", expected), ("observed", observed), ("to do", next_step)):
            if value is not None:
                lines.append(f"  {label + ':':<10}{value}")
        # A name from elsewhere may be no text: then no file and no terminal could take the message.
        super().__init__("\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8"))


class ConfigError(RobustftError):
    """A configuration file holds a wrong key or value."""


class IntegrityError(RobustftError):
    """A file is damaged, or its content contradicts its record."""


class BusyError(RobustftError):
    """Another process holds the lock for this work. No file was changed."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return "did you mean 'X'?" for the valid name closest to `name`, else the list of valid names."""
    options = sorted(valid)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"valid names: {', '.join(options) or 'none'}"


def lookup(table: Mapping[str, T], name: str, *, kind: str, where: object) -> T:
    """Return `table[name]`, or raise a ConfigError that names the nearest valid name."""
    if name not in table:
        raise ConfigError(f"unknown {kind} '{name}'", where=where, next_step=nearest(name, table))
    return table[name]
