import numpy as np

from robustft.data.own.collection import Collection


def test_classes_are_counted_by_their_names_or_by_the_largest_label():
    labels = np.array([0, 2, 2])
    bare = Collection("here", labels, {}, read=lambda one, side=None: labels, size_of=lambda one: (1, 1))
    named = Collection("here", labels, {}, bare.read, bare.size_of, classes=["a", "b", "c", "d"])
    assert (bare.count, named.count) == (3, 4)
