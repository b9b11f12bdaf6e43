"""The project in an export: the files that run the workflow, and its citation."""

import pytest

from robustft.errors import RobustftError
from robustft.export.project import author_name, citation, project_files
from robustft.files import project_path


def test_the_files_are_those_that_run_the_workflow():
    names = project_files()
    assert names == sorted(names)
    assert {"Snakefile", "LICENSE", "envs/run.txt", "config/attacks.yaml", "pipeline/robustft/plan/plan.py"} <= {*names}
    assert all(project_path(name).is_file() for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "docs/", "results/"))]


def test_a_missing_citation_is_an_error(tmp_path):
    with pytest.raises(RobustftError, match=r"a file is missing[\s\S]*CITATION\.cff"):
        citation(tmp_path)
    (tmp_path / "CITATION.cff").write_text("title: T\n")
    assert citation(tmp_path) == {"title": "T"}


def test_an_author_is_a_person_or_a_group():
    assert author_name({"given-names": "Ada", "family-names": "Lovelace"}) == "Ada Lovelace"
    assert author_name({"name": "A group"}) == "A group"
