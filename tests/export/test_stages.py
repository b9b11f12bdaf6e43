"""The picture of stages in report.html."""

import json
import re

import pytest

from robustft.errors import RobustftError
from robustft.export.stages import stages, with_stages


def test_the_stages_count_every_step_of_the_plan_but_the_lists_of_deviations(finished):
    counts = {name: count for name, _, count in stages(finished)}
    assert sum(counts.values()) == len(finished.steps) - len(finished.of_kind("deviations"))
    assert list(counts)[:2] == ["data", "pre-training"]
    assert counts["attacks"] == len(finished.of_kind("attack"))


def test_the_picture_of_rules_is_replaced_and_the_rest_of_the_page_stays(finished):
    page = 'before <script>\n    var rulegraph_spec = {"a": [1]};\n    </script> after'
    changed = with_stages(page, finished)
    assert changed.startswith("before <script>")
    assert changed.endswith("</script> after")
    spec = json.loads(re.search(r"var rulegraph_spec = (.*?);\s*</script>", changed)[1])
    names = [box["name"] for box in spec["data"][0]["values"]]
    assert "data: 1 step" in names
    assert not any("bundle" in name for name in names)


def test_a_page_without_that_picture_is_an_error(finished):
    with pytest.raises(RobustftError, match="no picture of rules"):
        with_stages("<html></html>", finished)
