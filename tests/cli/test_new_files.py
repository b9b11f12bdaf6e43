from __future__ import annotations

import pytest

from robustft.cli.new_files import write_new
from robustft.errors import RobustftError


def test_nothing_is_written_beside_a_file_that_is_in_the_way(tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(RobustftError, match="in the way"):
        write_new({tmp_path / "a": "", tmp_path / "b": ""})
    assert not (tmp_path / "a").exists()


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(RobustftError, match="where a folder should be"):
        write_new({tmp_path / "b" / "a": ""})
