"""Steps that follow from the lists of files, data and weights alone: downloads, decoded data, converted weights.

A step is planned when another step first needs it, so only data that a run reads is fetched and decoded.
"""

from __future__ import annotations

from typing import Any

from robustft.errors import lookup
from robustft.plan.entries import Entries
from robustft.plan.graph import RESULTS, Graph
from robustft.plan.layers import Layered, Parts, given
from robustft.plan.step import Step, implementations

IDENTITY = ("name", "bytes", "md5", "sha256", "sha256_prefix", "members")
"""The keys of a file's entry that identify its bytes. The addresses do not identify them."""

PROSE = ("terms", "note", "source")
"""The keys of an entry that change no result."""

PLACE, PATH = "folder", "path"
"""Where a source or weights lie on this machine: a setting. Their hash is their identity."""


class Catalogue:
    """Plans downloads, data and weights into a graph."""

    def __init__(self, graph: Graph, entries: Entries) -> None:
        self.graph, self.entries, self.config = graph, entries, entries.config

    def data(self, dataset: str) -> Step:
        """Return the step that decodes the source of a data set."""
        return self.source(self.entries.view(dataset)["source"])

    def source(self, name: str) -> Step:
        """Return the step that decodes a source into one file for all data sets that are views of it."""
        if step := self.graph.get("data", name):
            return step
        source = lookup(self.config.sources, name, kind="source", where=self.entries.listed)
        views = {
            view: given("datasets", f"datasets.{view}", entry)
            for view, entry in self.config.datasets.items()
            if entry["source"] == name
        }
        clean = source.get("corrupted_from")
        inputs = {"clean": self.data(clean["dataset"]).outputs["data"]} if clean else {}
        inputs |= {role: self.download(file).outputs["file"] for role, file in source.get("files", {}).items()}
        about = _but((*PROSE, PLACE), given("datasets", f"sources.{name}", source))
        resources = self.config.scale["resources"]["data"]
        return self.graph.add(
            "data",
            name,
            Parts(source=Parts({"name": name, **about}), datasets=Parts(views)),
            inputs=inputs,
            outputs={"data": f"{RESULTS}/data/{name}.safetensors"},
            implementations=(source["loader"],),
            settings={
                "threads": resources.get("threads", 1),
                "memory_mb": resources["mem_mb"],
                **({PLACE: source[PLACE]} if PLACE in source else {}),
            },
        )

    def download(self, name: str) -> Step:
        """Return the step that fetches a file."""
        file = lookup(self.config.files, name, kind="file", where=self.config.folder)
        if step := self.graph.get("download", name):
            return step
        of_weights = name in {weights.get("file") for weights in self.config.weights.values()}
        entry = given("weights" if of_weights else "datasets", f"files.{name}", file)
        identity = {key: entry[key] for key in IDENTITY if key in file}
        return self.graph.add(
            "download",
            name,
            Parts(file=Parts({"key": name, **identity})),
            inputs={},
            outputs={"file": f"{RESULTS}/downloads/{name}.download"},
            settings={"urls": file.get("urls", []), "manual": file.get("manual")},
        )

    def weights(self, name: str) -> Step:
        """Return the step that converts published weights to a checkpoint."""
        if step := self.graph.get("weights", name):
            return step
        where = self.config.file("weights")
        published = lookup(self.config.weights, name, kind="weights", where=where)
        entry = given("weights", f"weights.{name}", published)
        spec = Parts(
            backbone=self.entries.backbone(entry["backbone"]),
            shape=entry["shape"],
            classes=entry["classes"],
            method={"tuning": None},
            weights=Parts({"name": name, **_but((*PROSE, PATH, "title", "backbone", "shape", "classes"), entry)}),
        )
        return self.graph.add(
            "weights",
            name,
            spec,
            inputs={"file": self.download(published["file"]).outputs["file"]} if "file" in published else {},
            outputs={"checkpoint": f"{RESULTS}/weights/{name}.safetensors"},
            implementations=(published["reader"], *implementations(spec.value)),
            settings={PATH: published[PATH]} if PATH in published else {},
        )


def _but(keys: tuple[str, ...], entry: Layered) -> dict[str, Any]:
    return {key: part for key, part in entry.parts().items() if key not in keys}
