"""The form of a record in full, for who reads those of other people: each part, its keys and the kinds of their values.

A job checks the records that it reads with `record.problem_with`, which imports nothing.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from robustft.config.common import Maybe, NotNegative, Sha256, Whole

Time = Annotated[datetime.datetime, Meta(tz=True)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a record with these keys and no others."""


class _Entry(_Part, frozen=True, kw_only=True):
    path: str
    sha256: Sha256
    bytes: Whole


class _Step(_Part, frozen=True, kw_only=True):
    kind: str
    id: str
    spec: dict[str, Any]
    spec_sha256: Sha256
    origins: Maybe[dict[str, list[str]]] = UNSET


class _Source(_Part, frozen=True, kw_only=True):
    files: dict[str, Sha256]
    sha256: Sha256


class _Git(_Part, frozen=True, kw_only=True):
    commit: str | None
    clean: bool | None
    wheel: Maybe[bool] = UNSET


class _Lock(_Part, frozen=True, kw_only=True):
    path: str
    sha256: Sha256 | None
    not_as_locked: list[str]


class _Image(msgspec.Struct, frozen=True, kw_only=True):
    """What an image says of itself; an image may say more."""

    name: str | None
    container: Maybe[str] = UNSET
    role: Maybe[str] = UNSET
    base: Maybe[str] = UNSET
    lock: Maybe[str] = UNSET
    lock_sha256: Maybe[Sha256] = UNSET
    recipe_sha256: Maybe[Sha256 | None] = UNSET
    own_python: Maybe[bool] = UNSET


class _Code(_Part, frozen=True, kw_only=True):
    changed: list[str]
    unowned: list[str]


class _Environment(_Part, frozen=True, kw_only=True):
    python: Annotated[str, Meta(pattern=r"^3\.[0-9]+\.[0-9]+")]
    packages: dict[str, str]
    lock: _Lock
    git: _Git
    image: _Image | None
    code: Maybe[_Code] = UNSET


class _Voucher(_Part, frozen=True, kw_only=True):
    record: str
    sha256: Sha256


class _Piece(_Part, frozen=True, kw_only=True):
    file: str
    sha256: Sha256


class _Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What every step tells of its circumstances; a step may tell more."""

    vouchers: dict[str, _Voucher]
    seconds: NotNegative
    attempt: Annotated[int, Meta(ge=1)]
    started: Time
    ended: Time
    taken_over: Maybe[list[_Piece]] = UNSET
    startup: Maybe[dict[str, Sha256]] = UNSET
    variables: Maybe[dict[str, str]] = UNSET


class _Record(_Part, frozen=True, kw_only=True):
    schema: Literal["robustft-record-1"]
    step: _Step
    inputs: dict[str, _Entry]
    outputs: dict[str, _Entry]
    source: _Source
    environment: _Environment
    circumstances: _Circumstances


def fault(values: Any) -> str | None:
    """Return what of a record is not as steps write it: a key too few or many, a value of another kind; None if all is.

    >>> fault({"schema": "robustft-record-1"})
    'Object missing required field `step`'
    """
    try:
        msgspec.convert(values, _Record)
    except (msgspec.ValidationError, RecursionError) as error:
        return str(error)
    return None
