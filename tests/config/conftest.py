"""A document of the small configuration, with some of its values replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from robustft.config.load import Document, load_document, merged
from tests import toy_config
from tests.plan.toy_plan import WEIGHTS

FILES = {"scale": "scales/small", "paper": "papers/toy/paper"}


@pytest.fixture
def document(tmp_path: Path) -> Callable[[str, dict[str, Any]], Document]:
    """Read the file of one kind with some values replaced; `kind: {key: None}` takes a key away."""
    content = {**toy_config.files(), "weights": WEIGHTS}

    def read(kind: str, change: dict[str, Any]) -> Document:
        path = tmp_path / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(without(merged(content[FILES.get(kind, kind)], change))), encoding="utf-8")
        return load_document(path, kind)

    return read


def without(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: without(one) if isinstance(one, dict) else one for key, one in tree.items() if one is not None}
