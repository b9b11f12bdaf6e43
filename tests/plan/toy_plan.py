"""The small configuration planned, and what tests of the plan's rooms look up in it."""

from robustft.plan import Plan
from tests import toy_config
from tests.toy_config import method, paper, part

AVERAGE = part("robustft.models.tunings.merging:uniform", defences=["at", "partial"])

DERIVED = {
    "merged": method(**{"from": ["at", "partial"]}, derivation=AVERAGE),
    "continued": method(toy_config.STANDARD, **{"from": ["at"]}),
    "zero_shot": method(**{"from": ["initial"]}),
    "averaged": method(toy_config.AT, **{"from": ["partial", "initial"]}, derivation=AVERAGE),
}
ALL = paper(methods=DERIVED, experiment={"methods": ["at", "partial", *DERIVED]})

FILES = {
    "archive": {"name": "a.tar", "urls": ["https://one/a.tar"], "bytes": 7, "md5": "0" * 32, "note": "for people"},
    "published": {"name": "w.pt", "manual": "ask them", "sha256": "1" * 64},
}

WEIGHTS = {
    "files": {"published": FILES["published"]},
    "weights": {
        "robust": {
            "title": "Robust weights",
            "file": "published",
            "reader": "robustft.models.pretrained.vit_formats:vit",
            "parameters": {"patch_size": 4},
            "backbone": "tiny",
            "shape": [1, 8, 8],
            "classes": 3,
            "licence": "L",
            "source": "a page",
        }
    },
}

ARCHIVED = {
    "title": "A",
    "loader": "robustft.data.datasets.digits:load",
    "files": {"images": "archive"},
    "images": 9,
    "licence": "L",
    "terms": "for people",
    "shape": [1, 8, 8],
    "levels": 16,
}

PICTURES = {"title": "P", "source": "archived", "classes": 2, "splits": {"train": 5, "test": 4}, "template": "a {}"}


def trained(plan: Plan, method: str, seed: int = 0, dataset: str = "high"):
    """The training step of a run of the small paper."""
    return plan.step("train", f"toy/main/{dataset}/{method}/seed{seed}")


def ids(plan: Plan, kind: str) -> list[str]:
    return [step.id for step in plan.of_kind(kind)]
