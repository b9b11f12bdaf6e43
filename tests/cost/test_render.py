"""What `robustft plan` prints: units, aligned columns, and what the estimate rests on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from robustft.cost import as_json, describe
from robustft.cost.machines import Machine
from robustft.cost.render import aligned, duration, hours, size
from robustft.files import ROOT
from robustft.plan import Plan
from tests import toy_config
from tests.toy_config import paper

ASSUMED = Machine("board", "Board", "cuda", {"float32": 1.0}, "assumed, not measured: 50% of 2 GFLOP/s", False)
MEASURED = Machine("box", "Box", "cpu", {"float32": 1.0}, "measured with torch 2.0", True)

SCALES = sorted(path.stem for path in (ROOT / "config" / "scales").glob("*.yaml"))
"""`own` is for projects, which bring their papers."""


@pytest.fixture
def plan(tmp_path):
    return Plan(toy_config.write(tmp_path, scale={"bundle": 0}))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (95 * 3600, "95 h"),
        (10**7, "116 days"),
    ],
)
def test_times_are_in_units_that_people_read(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("bytes", "expected"),
    [
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9.94e6, "9.9 MB"),
        (170498071, "170 MB"),
        (1.5e11, "150 GB"),
        (2.25e12, "2.2 TB"),
    ],
)
def test_sizes_are_decimal(bytes, expected):
    assert size(bytes) == expected


def test_device_hours_have_the_digits_that_matter():
    assert [hours(value * 3600) for value in (0.004, 0.25, 9.96, 43590.2)] == ["0.00", "0.2", "10.0", "43,590"]


def test_columns_line_up():
    assert aligned([["", "runs"], ["a", "7"], ["longer", "1,234"]]) == [
        "         runs",
        "a           7",
        "longer  1,234",
    ]


def test_the_printed_plan_counts_what_there_is_and_names_the_chain(plan):
    text = describe(plan, machine=MEASURED)
    lines = [line.split() for line in text.splitlines()]
    assert ["toy", "4", "8", "0", "0", "1", "5", "4", "4", "14"] in lines
    assert any(line[:2] == ["train", "pretraining/low_standard"] for line in lines)
    assert "core-hours" in text
    assert "Not measured on it: tiny." in text
    assert "seed0/robustness.1of1" not in text.split("The longest chain")[0]


def test_details_name_every_step(plan):
    text = describe(plan, details=True, machine=MEASURED)
    assert all(
        any(line.split()[-2:] == [step.kind, step.id] for line in text.splitlines()) for step in plan.steps.values()
    )


def test_what_nobody_measured_says_so(plan):
    assert "assumed, not measured" in describe(plan, machine=ASSUMED)
    assert "GPU-hours" in describe(plan, machine=ASSUMED)
    found = as_json(plan, machine=ASSUMED)
    assert found["measured"] is False
    assert "assumed, not measured" in found["machine"]["about"]
    assert "assumed, not measured" not in describe(plan, machine=MEASURED)


def test_files_by_hand_and_without_a_size_are_listed(tmp_path):
    files = {
        "plain": {"name": "plain.tar", "urls": ["https://example.org/plain.tar"], "note": "no hash"},
        "secret": {"name": "secret.tar", "manual": "ask\n  for it", "bytes": 2_000_000, "note": "no hash"},
    }
    source = {
        **toy_config.files()["datasets"]["sources"]["digits"],
        "files": {"a": "plain", "b": "secret"},
        "images": 99,
    }
    text = describe(Plan(toy_config.write(tmp_path, datasets={"files": files, "sources": {"digits": source}})))
    assert "secret.tar: ask for it" in text
    assert "Files whose size was not published: plain." in text
    assert "2.0 MB + 1 file " in text


def test_jobs_that_would_be_killed_at_the_scales_limit_are_named(tmp_path):
    slow = Machine("slow", "Slow", "cpu", {"float32": 1e-6}, "assumed, not measured", False)
    plan = Plan(toy_config.write(tmp_path, scale={"bundle": 0}))
    # An attack job takes 20 x (8 x 100 + 5 x 200) s = 10 h at 10^-6 GFLOP/s; five minutes are asked for.
    assert "runtime_min of 5 min: 4 attack jobs, up to 10 h" in describe(plan, machine=slow)
    assert "runtime_min" not in describe(plan, machine=MEASURED)


def test_data_sets_without_a_stand_in_are_named(tmp_path):
    change = paper(experiment={"datasets": ["high", "cars"]})
    changed = toy_config.write(
        tmp_path, paper=change, datasets={"datasets": {"cars": toy_config.VIEW | {"title": "C", "classes": [1, 2]}}}
    )
    assert "  toy/main: in part: its data set cars has no stand-in" in describe(Plan(changed)).splitlines()


def test_the_json_holds_seconds_bytes_and_counts(plan):
    found = json.loads(json.dumps(as_json(plan, machine=MEASURED)))
    assert found["whole"]["runs"] == 4
    assert found["whole"]["steps"] == {"download": 0, "weights": 0, "data": 1, "train": 5, "attack": 4, "report": 4}
    assert found["whole"]["bytes"]["checkpoints"] == 20_000
    assert found["papers"]["toy"]["alone"]["longest_chain_s"] <= found["whole"]["longest_chain_s"]
    assert found["whole"]["longest_chain"][0]["step"] == "data:digits"


def test_a_table_alone_is_said_to_be_one(plan):
    assert describe(plan, table="toy/main", machine=MEASURED).startswith("the table toy/main at scale small")


@pytest.mark.parametrize("scale", [one for one in SCALES if one != "own"])
def test_every_scale_is_priced_without_torch_and_every_method_has_a_stated_cost(scale):
    code = (
        "import sys\nfrom robustft.config.load import Config\nfrom robustft.plan import Plan\n"
        "from robustft.cost import as_json\n"
        f"found = as_json(Plan(Config(scale={scale!r})))\n"
        "busy = sum(found['whole']['device_seconds'].values())\n"
        "print('torch' in sys.modules, busy > 0, found['assumptions']['methods'])"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.split() == ["False", "True", "[]"]
