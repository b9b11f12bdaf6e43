"""`robustft explain`: one number's chain, from the table cell to the data file, in words."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.errors import RobustftError, nearest
from pipeline.evaluate.ledger import read_ledger
from pipeline.files import read_json, sha256_file
from pipeline.plan import Plan
from pipeline.provenance.record import read_record
from pipeline.report import tables
from pipeline.steps import Evaluation, Step

CELL = re.compile(
    r"(?P<paper>[a-z0-9_]+)/(?P<table>[a-z0-9_]+):"
    r"(?:(?P<dataset>[a-z0-9_]+)\.)?(?P<method>[a-z0-9_]+)/(?P<column>[a-z0-9_]+)"
)
_TREE = {True: "clean tree", False: "TREE NOT CLEAN", None: "tree unknown to git"}


def explain(plan: Plan, cell: str) -> str:
    """Return the chain behind one cell, named PAPER/TABLE:ROW/COLUMN (ROW may be DATASET.METHOD).

    Every file on the way is hashed again; one that is not what its record says is shouted about in its place.
    """
    return _Explainer(plan).explain(cell)


def _tuned(method: dict[str, Any]) -> str:
    """Say what was trained, if not everything."""
    tuning = method.get("tuning")
    if not tuning:
        return ""
    settings = ", ".join(f"{key}={value}" for key, value in tuning.get("parameters", {}).items()) or "no parameters"
    return f", tuning {tuning['implementation']} ({settings}),"


def _verified(path: str, recorded: str) -> str:
    short = f"SHA-256 {recorded[:12]}..."
    if not Path(path).is_file():
        return f"{short}, BUT THE FILE IS MISSING"
    observed = sha256_file(path)
    return (
        f"{short}, verified just now" if observed == recorded else f"{short}, BUT THE FILE NOW HAS {observed[:12]}..."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


class _Explainer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lines: list[str] = []

    def say(self, *sentences: str, depth: int = 0) -> None:
        """Add one paragraph."""
        indent = "  " * depth
        self.lines += textwrap.wrap(
            " ".join(sentences), 110, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False
        )

    def explain(self, name: str) -> str:
        match = CELL.fullmatch(name)
        if match is None:
            raise RobustftError(
                f"'{name}' names no cell",
                expected="PAPER/TABLE:ROW/COLUMN",
                next_step="for example: robustft explain twins/main:twins_at/autoattack",
            )
        step = self.plan.step("table", f"{match['paper']}/{match['table']}")
        numbers, table = read_json(step.inputs["numbers"]), step.spec["table"]
        columns = tables.build_grid(step.spec, numbers).column_names
        for part, group, valid in (("row", "method", step.spec["rows"]), ("column", "column", columns)):
            if match[group] not in valid:
                hint = nearest(match[group], valid)
                raise RobustftError(f"the table {step.id} has no {part} '{match[group]}'", next_step=hint)
        wanted = {"experiment": table["experiment"], "method": match["method"]}
        if match["column"] == tables.AVERAGE:
            wanted["attack"] = table["metric"]
            self.say(f"The average of {step.spec['attacks'][table['metric']]} over the data sets below, seed by seed.")
        else:
            wanted |= tables.selection(table, match["column"])
        if match["dataset"]:
            wanted["dataset"] = match["dataset"]
        across = table.get("across") == "datasets"
        cells = [cell for cell in numbers["cells"] if wanted.items() <= cell.items() and across == cell["elsewhere"]]
        if not cells:
            raise RobustftError(f"the cell {name} was not run at scale {self.plan.scale}")
        for cell in cells:
            self._cell(step, cell, numbers)
        return "\n".join(self.lines)

    def _cell(self, step: Step, cell: dict[str, Any], numbers: dict[str, Any]) -> None:
        title, attack = step.spec["methods"][cell["method"]], step.spec["attacks"][cell["attack"]]
        count = len(cell["seeds"])
        if cell["unit"] != "share":
            self._metric(step, cell, title, attack)
            return
        mean = f"the mean and sample standard deviation over {count} seeds" if count > 1 else "the value of one seed"
        self.say(
            f"{title} under {attack} on {cell['dataset']} reads {tables.cell_text(cell)} (percent) in",
            f"{step.outputs['md']}: {mean} of the share of test images that stay correct.",
        )
        if not numbers["reproduces"]:
            self.say(f"Scale {self.plan.scale} uses stand-ins, so it is not a reproduction of a published number.")
        same = {key: cell[key] for key in ("experiment", "dataset", "method", "attack")}
        for measurement in numbers["measurements"]:
            if same.items() <= measurement.items():
                self._measurement(step.id.split("/")[0], measurement)
        self._claims(step, cell)

    def _measurement(self, paper: str, measurement: dict[str, Any]) -> None:
        low, high = map(_percent, measurement["interval"])
        failed = [check for check in measurement["checks"] if not check["ok"]]
        self.lines.append("")
        self.say(
            f"Seed {measurement['seed']}: {measurement['correct']} of {measurement['images']} images stay correct,",
            f"{_percent(measurement['accuracy'])} % (95 % interval of the images drawn: {low} to {high}).",
            f"{len(measurement['checks'])} sanity checks, {len(failed)} failed.",
        )
        for check in failed:
            text = check.get("text", "")
            self.say(f"{check['check']}: {check['value']:.4g}, limit {check['limit']:.4g}. {text}", depth=2)
        ledgers = {ledger["step"] for ledger in measurement["ledgers"]}
        evaluations = [e for e in self.plan.paper_evaluations(paper) if e.step.id in ledgers]
        for evaluation in evaluations:
            self._ledger(evaluation, measurement["attack"])
        run = evaluations[0].run
        if run.derivation:
            self.say(
                f"Its model is made by {run.derivation['implementation']} from {len(run.steps)} checkpoints:", depth=1
            )
        for training in run.steps:
            self._training(training, depth=1)

    def _metric(self, step: Step, cell: dict[str, Any], title: str, metric: str) -> None:
        """Tell where a value of training comes from: the histories."""
        self.say(f"{metric} of {title} on {cell['dataset']} reads {tables.cell_text(cell)} in {step.outputs['md']}.")
        for run in self.plan.runs:
            same = (run.paper, run.experiment, run.dataset, run.method)
            if same == (step.id.split("/")[0], cell["experiment"], cell["dataset"], cell["method"]) and run.trained:
                recorded = read_record(run.step.record).values["outputs"]["history"]["sha256"]
                path = run.step.outputs["history"]
                self.say(f"Seed {run.seed}: read from {path} ({_verified(path, recorded)}).", depth=1)

    def _ledger(self, evaluation: Evaluation, attack: str) -> None:
        step, path = evaluation.step, evaluation.step.outputs["ledger"]
        recorded = read_record(step.record).values["outputs"]["ledger"]["sha256"]
        self.say(f"Image by image: {path} ({_verified(path, recorded)}).", depth=1)
        if evaluation.elsewhere:
            self._data(step.inputs["data"], depth=2)
        outcome = read_ledger(Path(path))[attack]
        broken = Counter(name for name in outcome.broken_by.tolist() if name)
        if broken:
            parts = ", ".join(f"{count} by {name}" for name, count in broken.items())
            wrong = int((~outcome.correct).sum()) - sum(broken.values())
            self.say(f"{wrong} images were wrong before any attack; broken: {parts}.", depth=1)
        spec = next(entry for entry in step.spec["attacks"] if entry["name"] == attack)
        shown = {
            key: value for key, value in spec.items() if key not in ("name", "title", "source", "through", "threat")
        }
        details = ", ".join(f"{key} {value}" for key, value in shown.items())
        threat, seen = spec.get("threat", step.spec["threat"]), "the exported model"
        if spec.get("through", "exported_model") != "exported_model":
            seen = f"what {spec['through']} makes of {seen}"
        self.say(
            f"Attack: {spec['title']} ({details}), {threat['norm']} eps {threat['eps']}, seed {step.spec['seed']};",
            f"what it attacks: {seen}, from pixels to logits.",
            depth=1,
        )

    def _training(self, step: Step, *, depth: int) -> None:
        if step.kind == "weights":
            self._weights(step, depth=depth)
            return
        values = read_record(step.record).values
        spec, path = values["step"]["spec"], step.outputs["checkpoint"]
        recipe, method = spec["recipe"], spec["method"]
        parameters = ", ".join(f"{key}={value}" for key, value in method["parameters"].items()) or "no parameters"
        epoch = values["circumstances"].get("selected_epoch")
        kept = f", epoch {epoch} kept as best on the validation split" if epoch else ""
        self.say(f"Model: {path} ({_verified(path, values['outputs']['checkpoint']['sha256'])}).", depth=depth)
        self.say(
            f"Trained by {method['implementation']} ({parameters}){_tuned(method)} on {spec['dataset']['name']}:",
            f"{recipe['epochs']} epochs of batch {recipe['batch_size']}, {recipe['optimizer']} at {recipe['lr']},",
            f"seed {spec['seed']}{kept}; record {step.record}.",
            depth=depth,
        )
        self._code(values, depth=depth)
        origins = [path for role, path in step.inputs.items() if role == "initial" or role.startswith("from_")]
        for path in origins:
            producer = self.plan.producer(path)
            assert producer is not None, "the plan makes every input"
            self.say("Its initial weights:", depth=depth)
            self._training(producer, depth=depth + 1)
        for role in ("data", "auxiliary"):
            if role in step.inputs:
                self._data(step.inputs[role], depth=depth)

    def _code(self, values: dict[str, Any], *, depth: int) -> None:
        environment, circumstances, source = values["environment"], values["circumstances"], values["source"]
        image = (environment["image"] or {}).get("name") or "no container image of this project"
        self.say(
            f"Code: {len(source['files'])} source files (together {source['sha256'][:12]}...),",
            f"commit {str(environment['git']['commit'])[:12]}, {_TREE[environment['git']['clean']]};",
            f"Python {environment['python']}, torch {environment['packages'].get('torch')}, {image};",
            f"{circumstances.get('device')} on {circumstances['processor'] or circumstances['machine']},",
            f"{circumstances['ended']}.",
            depth=depth,
        )

    def _data(self, path: str, *, depth: int) -> None:
        producer = self.plan.producer(path)
        assert producer is not None, "the plan makes every input"
        values = read_record(producer.record).values
        source = values["step"]["spec"]["source"]
        origin = self._origin(producer, source)
        self.say(
            f"Data: {path} ({_verified(path, values['outputs']['data']['sha256'])}), decoded from {origin}:",
            f"{source['title']}.",
            depth=depth,
        )

    def _origin(self, step: Step, about: dict[str, Any]) -> str:
        """Say which files a source or weights were made from: a package's, downloaded ones, or another step's."""
        if "package_file" in about:
            return f"{about['package_file']} (SHA-256 {about['sha256'][:12]}..., checked before use)"
        origins = []
        for path in step.inputs.values():
            producer = self.plan.producer(path)
            assert producer is not None, "the plan makes every input"
            values = read_record(producer.record).values
            observed = next(iter(values["outputs"].values()))["sha256"]
            if producer.kind != "download":
                origins.append(path)
                continue
            file, came = producer.spec["file"], values["circumstances"].get("came_from", "elsewhere")
            published = [
                f"{key.upper().replace('_PREFIX', ' beginning')} {file[key]}"
                for key in ("sha256", "md5", "sha256_prefix")
                if key in file
            ]
            told = f"published {' and '.join(published)}" if published else "no hash was published"
            origins.append(f"{file['name']} (from {came}; {told}; SHA-256 {observed[:12]}...)")
        return ", ".join(origins)

    def _weights(self, step: Step, *, depth: int) -> None:
        about, title = step.spec["weights"], self.plan.config.weights[step.id]["title"]
        path = step.outputs["checkpoint"]
        hashed = read_record(step.record).values["outputs"]["checkpoint"]["sha256"]
        self.say(
            f"Published weights: {title}, {path} ({_verified(path, hashed)}), converted from",
            f"{self._origin(step, about)}.",
            depth=depth,
        )

    def _claims(self, step: Step, cell: dict[str, Any]) -> None:
        judged = self.plan.step("verdicts", step.id.split("/")[0])
        told, content = judged.spec, read_json(judged.outputs["json"])
        all_claims = [*told["claims"], *(claim for table in told.get("tables", []) for claim in table["claims"])]
        claims = {claim["id"]: claim for claim in all_claims}
        cells = [one for table in content.get("tables", []) for one in table.get("cells", [])]
        for verdict in [*content["verdicts"], *cells]:
            claim = claims.get(verdict["id"], {})
            involved = {claim.get("left"), claim.get("right"), claim.get("method")}
            metrics = {claim.get(key) for key in ("metric", "left_metric", "right_metric")}
            if cell["attack"] in metrics and cell["method"] in involved:
                self.lines.append("")
                self.say(
                    f"Claim: {verdict['statement']} ({verdict['source']}; {verdict['confidence']}).",
                    f"Verdict: {verdict['verdict']}.",
                )
