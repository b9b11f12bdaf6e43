"""config/images.yaml: container images by role."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from robustft.config.common import Name, Struct


class Image(Struct, frozen=True, kw_only=True):
    """A container image: its base (pinned by digest), file and lock, and the modules that it must import."""

    title: str
    base: Annotated[str, Meta(pattern=r"@sha256:[0-9a-f]{64}\Z", description="a reference that ends in @sha256:...")]
    image: str
    lock: str
    imports: Annotated[list[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*\Z")]], Meta(min_length=1)]


class Images(Struct, frozen=True, kw_only=True):
    """The images."""

    images: dict[Name, Image]
