from __future__ import annotations

import pytest

from robustft.data.imagefile import load_split
from robustft.data.source_file import write_source
from robustft.errors import IntegrityError
from tests.data.samples import picture, tar


def spec(**source):
    about = {
        **{"name": "toy", "loader": "robustft.data.formats.folders:load", "licence": "none", "levels": 255},
        **{"shape": [3, 6, 8], "parameters": {"parts": {"all": "all"}}, **source},
    }
    return {"source": about, "datasets": {"toy": {"source": "toy", "classes": 2, "splits": {"test": 2}}}}


def written(folder, **source):
    path = tar(folder / "x.tar.gz", {"all/a/1.png": picture(1), "all/b/2.png": picture(2)})
    lines = []
    write_source(spec(**source), {"archive": str(path)}, str(folder / "out"), threads=2, log=lines.append)
    return folder / "out", lines


def test_a_source_becomes_one_file_with_the_splits_of_its_views(tmp_path):
    path, lines = written(tmp_path)
    split = load_split(path, dataset="toy", split="test")
    assert sorted(zip(split.labels.tolist(), split.images[:, 0, 0, 0].tolist(), strict=True)) == [(0, 1), (1, 2)]
    assert lines == ["toy: 2 classes, test 2", "image 2/2"]


def test_another_number_of_images_than_on_record_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match=r"another number of images[\s\S]*expected: 3\n  observed: 2"):
        written(tmp_path, images=3)
