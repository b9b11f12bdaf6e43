"""The content of the page is that of the results: every cell, its measurements, and the hashes on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.export.audit_gate import Standing
from robustft.export.page_data import PageData
from robustft.files import read_json, sha256_file
from robustft.provenance.audit_state import AuditReport
from robustft.report.formats import parse_rows


@pytest.fixture
def content(finished) -> dict:
    return PageData(finished, Standing(AuditReport("small"), reproduces=False)).gather()


def tables(content: dict) -> dict:
    return {table["id"]: table for paper in content["papers"] for table in paper["tables"]}


def test_every_cell_is_the_tables_and_leads_to_its_numbers(finished, content):
    numbers = read_json(finished.step("numbers", "toy").outputs["numbers"])
    by_id = {one["id"]: one for one in numbers["measurements"]}
    cells = {(c["experiment"], c["dataset"], c["transfer_eval"], c["method"], c["attack"]): c for c in numbers["cells"]}
    by_table, counted = tables(content), 0
    assert set(by_table) == {step.id for step in finished.of_kind("table")}
    for step in finished.of_kind("table"):
        table, across = by_table[step.id], step.spec["table"].get("across") == "datasets"
        texts = parse_rows(Path(step.outputs["md"]).read_text(encoding="utf-8"), "md")
        for row, line in zip(table["rows"], texts, strict=True):
            assert row["heads"] + [cell["text"] for cell in row["cells"]] == line
            for column, cell in zip(table["columns"], row["cells"], strict=True):
                if column == "average":
                    assert len(cell["parts"]) == 2
                for part in cell["parts"]:
                    expected = cells["main", part["dataset"], across, row["name"].split(".")[-1], part["attack"]]
                    assert {
                        key: expected[key]
                        for key in ("evaluation", "split", "mean", "sd", "seeds", "images", "failed_checks")
                    }.items() <= part.items()
                    for seed, place in zip(expected["seeds"], part.get("measurements", []), strict=False):
                        one = content["measurements"][place]
                        end = f"transfer@{part['dataset']}" if across else "robustness"
                        id = f"main/high/{expected['method']}/seed{seed}/{end}/{part['attack']}"
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


def test_what_many_numbers_share_is_written_once(content):
    ids = [f"{step['kind']}:{step['id']}" for step in content["steps"]]
    assert len(ids) == len(set(ids))
    assert len(content["environments"]) == 1
    assert len({name for name, _ in content["files"]}) == len(content["files"])
