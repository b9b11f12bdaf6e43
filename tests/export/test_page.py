"""The page holds what the results hold: every cell, what it was counted from, and the hashes on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from robustft.export.page import export_page
from robustft.files import read_json, sha256_file
from robustft.report.formats import parse_rows


def quiet(line: str) -> None:
    """Say nothing."""


def embedded(page: Path, id: str = "content") -> dict:
    """The JSON in a page."""
    found = re.search(rf'<script type="application/json" id="{id}">(.*?)</script>', page.read_text(encoding="utf-8"))
    return json.loads(found[1])


@pytest.fixture
def page(finished, tmp_path) -> Path:
    return export_page(finished, tmp_path / "page.html", log=quiet)


@pytest.fixture
def content(page) -> dict:
    return embedded(page)


def tables(content: dict) -> dict:
    return {table["id"]: table for paper in content["papers"] for table in paper["tables"]}


def test_every_cell_is_the_tables_and_leads_to_its_numbers(finished, content):
    numbers = read_json(finished.step("numbers", "toy").outputs["numbers"])
    by_id = {one["id"]: one for one in numbers["measurements"]}
    cells = {(c["experiment"], c["dataset"], c["transfer_eval"], c["method"], c["attack"]): c for c in numbers["cells"]}
    shown, counted = tables(content), 0
    assert set(shown) == {step.id for step in finished.of_kind("table")}
    for step in finished.of_kind("table"):
        table, across = shown[step.id], step.spec["table"].get("across") == "datasets"
        texts = parse_rows(Path(step.outputs["csv"]).read_text(encoding="utf-8"), "csv")
        for row, line in zip(table["rows"], texts, strict=True):
            assert row["heads"] + [cell["text"] for cell in row["cells"]] == line
            for column, cell in zip(table["columns"], row["cells"], strict=True):
                if column == "average":
                    assert len(cell["parts"]) == 2
                for part in cell["parts"]:
                    told = cells["main", part["dataset"], across, row["name"].split(".")[-1], part["attack"]]
                    assert {
                        key: told[key] for key in ("mean", "sd", "seeds", "images", "failed_checks")
                    }.items() <= part.items()
                    for seed, place in zip(told["seeds"], part.get("measurements", []), strict=False):
                        one = content["measurements"][place]
                        end = f"@{part['dataset']}" if across else ""
                        id = f"main/high/{told['method']}/seed{seed}/{part['attack']}{end}"
                        assert (one["correct"], one["images"]) == (by_id[id]["correct"], by_id[id]["images"])
                        counted += 1
    assert counted >= 4 * 2 * 2


def test_every_measurement_leads_to_data_through_files_that_have_the_hashes_shown(content):
    steps = content["steps"]
    assert content["measurements"]
    for one in content["measurements"]:
        for ledger in one["ledgers"]:
            kinds, waiting = set(), [ledger]
            while waiting:
                step = steps[waiting.pop()]
                kinds.add(step["kind"])
                assert sha256_file(step["record"][0]) == step["record"][1]
                for path, size, sha256, verified in step["files"]:
                    assert (sha256_file(path), Path(path).stat().st_size, True) == (sha256, size, verified)
                waiting += step["inputs"].values()
            assert {"attack", "train", "data"} <= kinds
    facts = [text for step in steps if step["kind"] == "data" for _, text, *_ in step["facts"]]
    assert any("digits.csv.gz, SHA-256 09f66e6debdee2cd" in text for text in facts)


def test_a_derived_model_shows_all_of_its_checkpoints(content):
    row = next(row for row in tables(content)["toy/main"]["rows"] if row["name"] == "merged")
    one = content["measurements"][row["cells"][0]["parts"][0]["measurements"][0]]
    inputs_of = [content["steps"][place]["id"] for place in content["steps"][one["ledgers"][0]]["inputs"].values()]
    assert {"toy/main/high/at/seed0", "toy/main/high/partial/seed0"} <= set(inputs_of)
    assert one["derived"].endswith(":averaged")


def test_a_published_value_stands_with_its_source_and_is_not_comparable(content):
    row = next(row for row in tables(content)["toy/main"]["rows"] if row["name"] == "at")
    part = row["cells"][tables(content)["toy/main"]["columns"].index("fgsm")]["parts"][0]
    claim = next(c for c in (content["claims"][place] for place in part["claims"]) if c["id"] == "published")
    assert (claim["published"], claim["verdict"], claim["tone"]) == ("50.25", "not comparable", "none")
    assert ["Source", "Table 9, <b>bold</b> & </script><script>alert(1)</script>"] in claim["facts"]


def test_nothing_is_green_where_stand_ins_were_measured(content):
    assert content["reproduces"] is False
    assert content["claims"]
    assert not [claim for claim in content["claims"] if claim["tone"] == "good"]


def test_text_of_the_configuration_cannot_end_the_script_that_it_stands_in(page):
    text = page.read_text(encoding="utf-8")
    assert "</script><script>alert(1)" not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert any("</script><script>alert(1)</script>" in str(claim["facts"]) for claim in embedded(page)["claims"])


def test_the_page_asks_for_nothing_from_a_network(page):
    shell = re.sub(r'<script type="application/json".*?</script>', "", page.read_text(encoding="utf-8"), flags=re.S)
    assert not re.search(
        r"""(src|href)\s*=\s*["']?\s*(https?:)?//|url\(|@import|fetch\(|XMLHttpRequest|WebSocket""", shell
    )
    assert "default-src 'none'" in shell


def test_a_file_that_was_changed_is_shown_as_changed(tampered, tmp_path):
    content = embedded(export_page(tampered, tmp_path / "page.html", unaudited=True, log=quiet))
    assert content["audit"]["ok"] is False
    assert any("history.csv" in finding for finding in content["audit"]["findings"])
    changed = [path for step in content["steps"] for path, _, _, verified in step["files"] if not verified]
    assert [Path(path).name for path in changed] == ["history.csv"]


def test_what_many_numbers_share_is_written_once(content):
    ids = [f"{step['kind']}:{step['id']}" for step in content["steps"]]
    assert len(ids) == len(set(ids))
    assert len(content["environments"]) == 1
    assert len({name for name, _ in content["files"]}) == len(content["files"])
