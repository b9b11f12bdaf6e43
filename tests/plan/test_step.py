"""What a specification names is found in it."""

from robustft.plan.step import implementations


def test_every_implementation_of_a_specification_is_found_however_deep_and_once():
    tree = {
        "implementation": "a:A",
        "parameters": {"defences": [{"implementation": "b:B"}, {"implementation": "c:C", "x": {"target": "d:d"}}]},
        "again": {"implementation": "a:A"},
        "target": "exported_model",
        "attacks": [{"target": "e:e"}, {"implementation": 3}],
        "title": "f:F",
    }
    assert implementations(tree) == ("a:A", "b:B", "c:C", "d:d", "e:e")
