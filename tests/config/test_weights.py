"""Published weights are a download or a file of an installed package."""

import pytest

from robustft.errors import ConfigError

PACKAGED = {"file": None, "package_file": "package/w.pt", "sha256": "0" * 64, "bytes": 9}


@pytest.mark.parametrize("change", [{}, PACKAGED])
def test_weights_have_an_origin(change, document):
    assert document("weights", {"weights": {"robust": change}}).typed.weights["robust"].classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": None}, "robust: give 'file' or 'path' with 'sha256' or 'package_file' with"),
        ({**PACKAGED, "sha256": None}, "robust: give 'file' or"),
        ({"licence": None}, "the key 'licence' is missing"),
        ({"classes": -1}, "classes: -1 is not a valid value"),
        ({"shape": [8, 8]}, "shape"),
    ],
)
def test_weights_of_no_origin_licence_or_shape_are_refused(change, message, document):
    with pytest.raises(ConfigError, match=message):
        document("weights", {"weights": {"robust": change}})
