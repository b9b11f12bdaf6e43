"""The root of some papers stands for the bytes of every record, that of a manifest too."""

from hashlib import sha256
from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.files import sha256_file
from robustft.provenance.roots import manifest_records, root_over


def test_the_root_over_papers_is_the_hash_of_their_manifests_records_in_any_order():
    by_hand = sha256(b'{"a":"11","b":"22"}').hexdigest()
    assert root_over({"b": "22", "a": "11"}) == root_over({"a": "11", "b": "22"}) == by_hand


def test_the_record_of_the_manifest_itself_is_under_the_root(copied):
    record = copied.step("manifest", "toy").record
    assert manifest_records(copied) == {"toy": sha256_file(record)}
    before = root_over(manifest_records(copied))
    Path(record).write_text(Path(record).read_text().replace('"attempt": 1', '"attempt": 2'))
    assert root_over(manifest_records(copied)) != before


def test_a_paper_without_a_manifest_has_no_root_and_the_error_says_what_to_do(copied):
    Path(copied.step("manifest", "toy").record).unlink()
    with pytest.raises(RobustftError, match="toy has not been run to its end") as error:
        manifest_records(copied)
    assert "--papers" in str(error.value)
