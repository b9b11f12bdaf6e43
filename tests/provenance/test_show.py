"""`robustft show`: every value with its layer, in columns that can be read, and as JSON; never torch."""

import subprocess
import sys

import pytest

from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.plan import Plan
from robustft.provenance.show import describe_step, find_step, leaves, step_as_json
from tests import toy_config
from tests.toy_config import method, paper

RUN = "toy/main/high/at/seed0"
CHANGES = paper(
    methods={"merged": method(**{"from": ["at"]})},
    experiment={
        "methods": ["at", "partial", "merged"],
        "recipe": {"epochs": {"value": 60, "basis": "published", "source": "section 4"}},
    },
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    return Plan(toy_config.write(tmp_path_factory.mktemp("show") / "config", paper=CHANGES))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (RUN, f"train:{RUN}"),
        ("pretraining/low_standard", "train:pretraining/low_standard"),
        (f"{RUN}/robustness.1of1", f"attack:{RUN}/robustness.1of1"),
        ("toy/main/high/merged/seed1", "attack:toy/main/high/merged/seed1/robustness.1of1"),
        ("digits", "data:digits"),
        ("numbers:toy", "numbers:toy"),
    ],
)
def test_a_step_is_found_by_its_id_its_key_or_the_name_of_its_run(name, key, plan):
    assert find_step(plan, name).key == key


def test_a_misspelt_run_is_an_error_with_the_nearest_name(plan):
    with pytest.raises(RobustftError, match=f"did you mean '{RUN}'"):
        find_step(plan, "toy/main/high/ta/seed0")


def test_a_value_is_shown_with_its_line_basis_and_source(plan):
    text = describe_step(plan, plan.step("train", RUN))
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ["epochs"]]
    assert "60" in line
    assert "paper.yaml:" in line
    assert line.endswith("published: section 4")
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("  snakemake"))


def test_every_leaf_is_shown_once(plan):
    for step in (plan.step("train", RUN), plan.evaluations[0].step):
        values = step_as_json(plan, step)["values"]
        assert {path: entry["value"] for path, entry in values.items()} == dict(leaves(step.spec))
        text = describe_step(plan, step)
        assert all(path.rsplit(".", 1)[-1] in text for path in values)


def test_showing_never_imports_torch():
    code = (
        "import sys\nfrom robustft.cli import main\n"
        "assert main(['show', 'twins/main', '--scale', 'smoke']) == 0\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
