"""`robustft export crate`: a finished scale as a Workflow Run RO-Crate, of the profile Provenance Run Crate.

Its layout is that of a checkout with its results, so the workflow can be run and audited inside the crate. Data and
checkpoints are described by hash and size; with `include_large` they are included.
"""

from __future__ import annotations

import mimetypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate  # type: ignore[import-untyped]

from robustft.errors import RobustftError
from robustft.export.audit_gate import Standing, audited
from robustft.export.crate_graph import LICENCE, PROFILES, TERMS, RunGraph, article_id, context_entities, ref, refs
from robustft.export.folder import archive, whole_folder
from robustft.export.project import citation, project_files
from robustft.files import ROOT, project_path, sha256_file
from robustft.plan import RESULTS, Plan
from robustft.provenance.lineage import Lineage
from robustft.provenance.statements import files_beside

METADATA = "ro-crate-metadata.json"
VERSION = "1.1"
"""The version of RO-Crate that Provenance Run Crate 0.5 extends."""

LARGE = {("data", "data"), ("download", "file"), ("weights", "checkpoint"), ("train", "checkpoint")}
"""Kinds of steps and roles of their outputs that are left out without `include_large`."""

TYPES = {".parquet": "application/vnd.apache.parquet", ".safetensors": "application/octet-stream",
         ".yaml": "application/yaml", ".smk": "text/plain", ".md": "text/markdown", ".tex": "text/x-tex"}  # fmt: skip

ABOUT = """This is an RO-Crate: the record of one run of robustft, described in {metadata}.

{meaning} {verdict}.
Root, one hash over all records: {root}

Layout: a checkout (Snakefile, config, envs, pipeline) and its results. Beside each result stands the record of the step
that made it. Data and checkpoints are {large}.

- Is it a valid crate?  rocrate-validator validate .
- Is it what was recorded?  python -m robustft audit --scale {scale} {papers}({needs})
"""


def export_crate(
    plan: Plan,
    target: Path,
    *,
    include_large: bool = False,
    unaudited: bool = False,
    log: Callable[[str], None] = print,
) -> Path:
    """Write the crate of a plan's scale as a folder, or as an archive if `target` ends in .zip, and return `target`.

    The same results give the same bytes. Raises RobustftError if the audit fails (unless `unaudited`), or if the target
    exists and is not a crate.
    """
    standing = audited(plan, unaudited=unaudited, log=log)
    builder = _Builder(plan, standing, include_large=include_large)
    if target.suffix == ".zip":
        unpacked = target.with_name(f".{target.name}.unpacked")
        with whole_folder(unpacked, mark=METADATA) as folder:
            builder.write(folder, log=log)
        archive(unpacked, target)
        shutil.rmtree(unpacked)
    else:
        with whole_folder(target, mark=METADATA) as folder:
            builder.write(folder, log=log)
    log(f"{target}: {len(builder.places)} files described, {builder.left_out} of them by hash and size only")
    return target


class _Builder:
    def __init__(self, plan: Plan, standing: Standing, *, include_large: bool) -> None:
        self.plan, self.standing, self.include_large = plan, standing, include_large
        self.lineage, self.crate = Lineage(plan), ROCrate(version=VERSION)
        self.places: dict[str, str] = {}
        """The identifier of the entity of each file of the checkout and the results."""
        self.left_out = 0

    def write(self, folder: Path, *, log: Callable[[str], None]) -> None:
        """Describe every file and step, and copy the files that are included."""
        self.lineage.hash_all(path for step in self.plan.steps.values() for path in step.outputs.values())
        for name in project_files():
            if name != "Snakefile":
                self._include(name, project_path(name), sha256_file(project_path(name)))
        self._results()
        graph = RunGraph(self.lineage, self.standing, self.places)
        if not graph.steps:
            raise RobustftError(f"scale {self.plan.scale} has no records", next_step="run snakemake first")
        self._workflow(graph)
        cited = citation()
        for entity in [*context_entities(cited), *graph.entities()]:
            self.crate.add_jsonld(entity)
        self._about(folder)
        self._root(graph, cited)
        self.crate.metadata.extra_terms = dict(TERMS)
        log(f"writing {len(self.places)} files")
        self.crate.write(folder)

    def _results(self) -> None:
        for step in self.plan.steps.values():
            if not Path(step.record).is_file():
                continue  # an unaudited crate may lack steps
            for role in step.outputs:
                file = self.lineage.file(step, role)
                if file.observed is None or ((step.kind, role) in LARGE and not self.include_large):
                    self._leave_out(
                        file.path, file.observed or file.recorded, file.bytes, there=file.observed is not None
                    )
                else:
                    self._include(file.path, Path(file.path), file.observed)
            self._include(step.record, Path(step.record), self.lineage.record(step).sha256)
        for path in files_beside(Path(RESULTS) / self.plan.scale):
            self._include(str(path), path, sha256_file(path))

    def _include(self, name: str, source: Path, sha256: str) -> None:
        kind = TYPES.get(source.suffix) or mimetypes.guess_type(name)[0] or "text/plain"
        size = str(source.stat().st_size)
        properties = {"name": name, "sha256": sha256, "contentSize": size, "encodingFormat": kind}
        self.places[name] = self.crate.add_file(source, dest_path=name, properties=properties).id

    def _leave_out(self, path: str, sha256: str, size: int, *, there: bool) -> None:
        """Describe a file that is not in the crate. In RO-Crate a `File` can be fetched, so it is a CreativeWork."""
        why = "Not in this crate, for its size." if there else "MISSING when this crate was made."
        properties = {"name": path, "sha256": sha256, "contentSize": str(size), "description": why}
        self.crate.add_jsonld({"@id": f"#{path}", "@type": "CreativeWork", **properties})
        self.places[path] = f"#{path}"
        self.left_out += 1

    def _workflow(self, graph: RunGraph) -> None:
        sha256 = sha256_file(ROOT / "Snakefile")
        properties = {**graph.workflow(), "sha256": sha256}
        self.crate.add_workflow(ROOT / "Snakefile", "Snakefile", properties=properties, main=True, lang="snakemake")
        self.places["Snakefile"] = "Snakefile"

    def _about(self, folder: Path) -> None:
        chosen = list(self.plan.config.papers)  # in the order of the manifest
        every = sorted(path.parent.name for path in (ROOT / "config" / "papers").glob("*/paper.yaml"))
        text = ABOUT.format(
            metadata=METADATA,
            meaning=self.standing.meaning,
            verdict=self.standing.verdict.capitalize(),
            root=self.standing.root,
            scale=self.plan.scale,
            papers="" if sorted(chosen) == every else f"--papers {','.join(chosen)} ",
            large="included" if self.include_large else "described by hash and size, and not included",
            needs="needs the packages of envs/report.txt" if self.include_large else "all but the files left out",
        )
        path = folder / "README.md"
        path.write_text(text, encoding="utf-8")
        self._include("README.md", path, sha256_file(path))
        self.crate.dereference("README.md")["about"] = ref("./")

    def _root(self, graph: RunGraph, cited: dict[str, Any]) -> None:
        root = self.crate.root_dataset
        root["name"] = f"{cited['title']} {cited['version']}, scale {self.plan.scale}"
        root["description"] = f"{cited['abstract']} {self.standing.meaning} {self.standing.verdict.capitalize()}."
        root["license"] = ref(LICENCE)
        root["datePublished"] = graph.times()[1]  # the end of the run, so that the same results give the same crate
        root["author"] = refs(f"#author-{place}" for place in range(len(cited["authors"])))
        publisher = next((place for place, author in enumerate(cited["authors"]) if "name" in author), None)
        if publisher is not None:
            root["publisher"] = ref(f"#author-{publisher}")
        root["conformsTo"] = [ref(id) for id in PROFILES]
        root["citation"] = [ref(article_id(entry)) for entry in cited["references"]]
        root["identifier"] = ref("#root")
        root["keywords"] = ", ".join(cited["keywords"])
        root["mentions"] = graph.mentions()
