"""`make gpu`: what is right, how fast it is, and first real tables, on one GPU in ten minutes.

    python -m benchmarks.gpu                          # on a GPU
    python -m benchmarks.gpu --device cpu --quick     # the whole script on a CPU, in two minutes
    python -m benchmarks.gpu --parts speed            # one part

| part | what | seconds |
| --- | --- | --- |
| machine | versions, clocks, rate of matrix products, bandwidth of memory | 30 |
| correctness | steps as on the CPU, repeated runs, resume, bfloat16 and compiled code against float32, memory | 120 |
| speed | training steps and AutoAttack against the textbook's, PGD, one step of PGD as a CUDA graph | 230 |
| science | scale `gpu`: TWINS and Adv-SS-Pretraining on real CIFAR-10 | the rest |

Each piece writes its own file under results/gpu/DEVICE/ as it ends. A second call goes on with what is not there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.gpu import correctness, science, speed, wheels
from benchmarks.gpu import machine as about
from benchmarks.gpu.store import Store
from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.runtime.device import set_up

PARTS = {"machine": 30, "correctness": 120, "speed": 230, "science": 180}
"""The seconds after which a part begins no further piece."""


def main() -> int:
    """Run the parts and say where their results are; 1 if a piece failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="everything cut to seconds: a rehearsal, no measurement")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / "gpu")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise RobustftError(
            "torch sees no GPU",
            expected="a CUDA device",
            observed=f"torch {torch.__version__}, CUDA {torch.version.cuda}",
            next_step="run it on a machine with a GPU, or rehearse it: make gpu DEVICE=cpu QUICK=1",
        )
    wheels.add()
    device = torch.device(arguments.device, 0) if arguments.device == "cuda" else torch.device("cpu")
    set_up(device, threads=torch.get_num_threads())
    store = Store(arguments.folder, arguments.device, arguments.quick)
    pieces = {
        "machine": lambda: about.pieces(device, quick=arguments.quick),
        "correctness": lambda: correctness.pieces(device, quick=arguments.quick),
        "speed": lambda: speed.pieces(device, quick=arguments.quick),
        "science": lambda: science.pieces(device, quick=arguments.quick),
    }
    for part in arguments.parts:
        store.run(part, pieces[part](), budget_s=PARTS[part])
    sys.stdout.write(f"results: {store.folder / store.device}\n")
    for what, names in (("failed", store.failed), ("left out", store.left_out)):
        if names:
            sys.stdout.write(f"{what}: {', '.join(names)}\n")
    return 1 if store.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RobustftError as error:
        sys.exit(f"error: {error}")
