"""When two records are of one kind of machine."""

import copy

from robustft.provenance.record import Record, read_record
from robustft.recheck.machines import other_kind


def test_what_decides_rounding_is_compared_and_nothing_else(finished):
    one = read_record(finished.of_kind("attack")[0].record)
    values = copy.deepcopy(one.values)
    values["circumstances"] |= {"host": "other", "pid": 1, "seconds": 9}
    assert other_kind(one, Record("r", "0", values)) == []
    values["circumstances"]["processor"] = "Abacus"
    values["environment"]["packages"]["torch"] = "0.1"
    assert other_kind(one, Record("r", "0", values)) == ["processor", "torch"]
