"""An attack and its strengths, and what the catalogue compares each attack with."""

from robustft.config.attacks import with_strengths
from robustft.config.load import load_document
from robustft.files import ROOT


def test_each_strength_is_an_attack_that_is_not_weaker_than_the_one_before():
    attack = {
        **{"title": "L2, eps {}", "source": "eps {}", "threat": {"norm": "l2"}},
        **{"strengths": {"1_2": "1/2", "1": 1}, "checks": {"not_weaker_than": ["clean"]}},
    }
    weak, strong = with_strengths({"a": attack}).items()
    assert weak == (
        "a_1_2",
        {
            **{"title": "L2, eps 1/2", "source": "eps 1/2", "threat": {"norm": "l2", "eps": "1/2"}},
            "checks": {"not_weaker_than": ["clean"]},
        },
    )
    assert strong[0] == "a_1"
    assert strong[1]["threat"] == {"norm": "l2", "eps": 1}
    assert strong[1]["checks"] == {"not_weaker_than": ["a_1_2"]}


def test_every_attack_of_the_catalogue_is_compared_with_another_one():
    attacks = load_document(ROOT / "config" / "attacks.yaml", "attacks").values["attacks"]
    for name, attack in attacks.items():
        if attack["algorithm"] != "none":
            assert attack["checks"].keys() & {"not_weaker_than", "gap_to"}, name
