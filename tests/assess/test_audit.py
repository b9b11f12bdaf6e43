import pytest

from robustft.assess.audit import audit_folder, explain_folder
from robustft.files import read_json, write_json


def test_an_untouched_folder_passes_and_is_explained(copy):
    assert audit_folder(copy) == []
    assert "images" in explain_folder(copy)
    assert "ledgers/clean.parquet" in explain_folder(copy)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("numbers.csv", "clean,clean", "clean,cleen", "wrong-number: numbers.csv, line 2"),
        ("card.md", "Numbers", "Best numbers", "edited-card: card.md"),
        ("card.html", "Checks", "Cheques", "edited-card: card.html"),
        ("robustbench.json", '"unreliable": ', '"unreliable": 1', "edited-card: robustbench.json"),
    ],
)
def test_an_edited_file_is_named(copy, name, old, new, said):
    path = copy / name
    path.write_text(path.read_text().replace(old, new, 1).replace("1true", "1").replace("1false", "1"))
    broken = audit_folder(copy)
    assert [line for line in broken if said in line]


def test_an_edited_number_and_a_foreign_ledger_are_named(copy):
    path = copy / "numbers.csv"
    head, first, *rest = path.read_text().splitlines()
    fields = first.split(",")
    fields[head.split(",").index("correct")] = "30"
    path.write_text("\n".join([head, ",".join(fields), *rest]))
    (copy / "ledgers" / "cw-linf-1_25.parquet").write_bytes((copy / "ledgers" / "pgd10-linf-1_25.parquet").read_bytes())
    record = copy / "ledgers" / "pgd10-linf-1_50.record.json"
    values = read_json(record)
    values["source"]["files"]["pipeline/robustft/gone.py"] = "0" * 64
    from robustft.files import digest_of

    values["source"]["sha256"] = digest_of(values["source"]["files"])
    write_json(record, values)
    codes = {line.split(":")[0] for line in audit_folder(copy)}
    assert {"wrong-number", "changed-ledger", "edited-source"} <= codes
