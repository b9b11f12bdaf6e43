"""A name that nothing defines is an error of the plan, with the nearest one that is defined."""

import pytest

from robustft.errors import ConfigError
from tests import toy_config
from tests.toy_config import paper

PAPER = toy_config.files()["papers/toy/paper"]
TABLE, CLAIM = PAPER["tables"]["main"], PAPER["claims"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paper": paper(experiment={"methods": ["at", "partail"]})}, "unknown method 'partail'"),
        ({"paper": paper(experiment={"datasets": ["hihg"]})}, "unknown data set 'hihg'"),
        ({"paper": paper(experiment={"backbone": "tyni"})}, "unknown backbone 'tyni'"),
        ({"paper": paper(experiment={"pretraining": "low_standrad"})}, "unknown pretraining 'low_standrad'"),
        ({"paper": paper(experiment={"evaluations": ["robustnes"]})}, "unknown evaluation 'robustnes'"),
        ({"paper": paper(experiment={"monitor": {"attack": "fgms"}})}, "unknown attack 'fgms'"),
        ({"paper": paper(experiment={"overrides": {"ta": {"recipe": {"lr": 1}}}})}, "unknown method 'ta'"),
        ({"paper": {"evaluations": {"robustness": {"methods": ["ta"]}}}}, "unknown method 'ta'"),
        ({"paper": {"evaluations": {"robustness": {"attacks": ["clena"]}}}}, "unknown attack 'clena'"),
        ({"paper": {"tables": {"main": {**TABLE, "rows": ["partail"]}}}}, "unknown method 'partail'"),
        ({"paper": {"claims": [{**CLAIM, "left": "ta"}]}}, "unknown method 'ta'"),
        ({"paper": {"claims": [{**CLAIM, "right": "partail"}]}}, "unknown method 'partail'"),
        ({"scale": {"pretraining": {"low_standard": {"dataset": "loww"}}}}, "unknown data set 'loww'"),
        ({"scale": {"pretraining": {"low_standard": {"backbone": "tyni"}}}}, "unknown backbone 'tyni'"),
        ({"scale": {"pretraining": {"low_standard": {"method": "standart"}}}}, "unknown method 'standart'"),
        ({"scale": {"pretraining": {"low_standard": {"monitor": {"attack": "fgms"}}}}}, "unknown attack 'fgms'"),
        ({"scale": {"papers": {"toy": {"methods": ["partail"]}}}}, "unknown method 'partail'"),
        ({"scale": {"papers": {"toy": {"overrides": {"ta": {"recipe": {"lr": 1}}}}}}}, "unknown method 'ta'"),
        ({"scale": {"papers": {"toy": {"experiments": {"mian": {"seeds": [0]}}}}}}, "unknown experiment 'mian'"),
        ({"scale": {"papers": {"toy": {"evaluations": {"robust": {"images": 1}}}}}}, "unknown evaluation 'robust'"),
        ({"scale": {"attacks": {"fgms": {"steps": 2}}}}, "unknown attack 'fgms'"),
        ({"attacks": {"attacks": {"pgd2": {"checks": {"not_weaker_than": ["fgms"]}}}}}, "unknown attack 'fgms'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_misspelt_name_is_an_error_that_offers_the_right_one(changes, message, planned):
    with pytest.raises(ConfigError, match=message) as error:
        planned(**changes)
    assert "did you mean" in str(error.value)
