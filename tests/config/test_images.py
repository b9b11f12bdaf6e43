"""A container image has a base that is pinned by its digest."""

import pytest

from robustft.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "nvidia/cuda:13.0"}, r"base: 'nvidia/cuda:13.0' is not a valid value.*ends in @sha256"),
        ({"base": "cuda@sha256:00"}, "base"),
        ({"imports": []}, "imports"),
        ({"imports": ["os; rm"]}, r"imports\.0"),
        ({"locks": "envs/run.txt"}, "unknown key 'locks'.*did you mean 'lock'"),
    ],
)
def test_an_image_that_is_not_pinned_or_described_is_refused(change, message, document):
    role = next(iter(document("images", {}).typed.images))
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        document("images", {"images": {role: change}})
