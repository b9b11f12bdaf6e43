"""A machine's rates are above zero, and it is of a device that PyTorch names."""

import msgspec
import pytest
from msgspec import UNSET

from robustft.config.machines import Machine, Machines

BOARD = {"title": "B", "device": "cuda", "tflops": {"float32": 2}, "utilisation": {"float32": 0.5}, "source": "S"}


def test_a_machine_may_have_no_rate_for_bfloat16():
    machines = msgspec.convert({"default": "board", "machines": {"board": BOARD}}, Machines)
    assert machines.machines["board"].tflops.bfloat16 is UNSET


@pytest.mark.parametrize("change", [{"device": "gpu"}, {"tflops": {"float32": 0}}, {"utilisation": {"bfloat16": 1}}])
def test_a_machine_of_no_device_or_rate_is_refused(change):
    with pytest.raises(msgspec.ValidationError, match=next(iter(change))):
        msgspec.convert({**BOARD, **change}, Machine)
