"""An attack and its strengths."""

from robustft.config.attacks import with_strengths


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
