"""Each trained model as a folder that its own library loads, and that `huggingface_hub` uploads as it is.

A folder holds `model.safetensors` under the names of timm, torchvision or RobustBench, a `config.json` and a README.
The logits are of normalised images: `config.json` has mean and standard deviation in the form of timm.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from robustft.errors import RobustftError
from robustft.export.audit_gate import audited
from robustft.export.folder import whole_folder
from robustft.files import write_json, write_text
from robustft.models.backbones.library import LibraryBackbone, last_linear
from robustft.models.checkpoint import load_classifier
from robustft.models.foreign.architectures import architecture
from robustft.plan import Plan

INDEX = "models.json"


def export_hub(plan: Plan, target: Path, *, unaudited: bool = False, log: Callable[[str], None] = print) -> Path:
    """Write a folder for each trained model of a plan whose network is of a library, and return the path.

    Raises RobustftError if no network is.
    """
    standing = audited(plan, unaudited=unaudited, log=log)
    runs = {run.id: run for run in plan.runs if run.trained and run.steps}
    fitting = [run for run in runs.values() if "arch" in run.step.spec["backbone"]["parameters"]]
    if not fitting:
        raise RobustftError(
            "no trained network is of a library, so no other program knows its names",
            where=plan.config.folder,
            expected="a network of `weights` in robustft.yaml, with an `arch`",
            next_step="load the checkpoints with robustft.load",
        )
    with whole_folder(target, mark=INDEX) as folder:
        write_json(folder / INDEX, [run.id for run in fitting])
        for run in fitting:
            place = folder / run.id.replace("/", "-")
            write_model(Path(run.step.outputs["checkpoint"]), place, title=run.id, standing=standing.meaning)
    for run in runs.values():
        if run not in fitting:
            log(f"{run.id}: left out, a network of robustft's own (robustft.load reads it)")
    return target


def write_model(checkpoint: Path, folder: Path, *, title: str, standing: str) -> None:
    """Write one checkpoint under its library's names. Raises RobustftError for a network that has other modules."""
    model, about = load_classifier(checkpoint)
    arch, classes = about["backbone"]["parameters"]["arch"], about["classes"]
    if not isinstance(model.backbone, LibraryBackbone) or not isinstance(model.head, nn.Linear):
        raise RobustftError(f"the network is not {arch} alone", where=checkpoint, observed=type(model.head).__name__)
    tensors = library_state(model.backbone, model.head)
    architecture(arch).build(classes=classes, channels=about["shape"][0]).load_state_dict(tensors)
    folder.mkdir(parents=True)
    save_file({name: one.contiguous() for name, one in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    normalisation = about["backbone"]["normalisation"]
    library, _, name = arch.partition(":")
    config = {
        "architecture": name,
        "library_name": library,
        "num_classes": classes,
        "num_features": model.backbone.out_features,
        "pretrained_cfg": {
            "input_size": about["shape"],
            "mean": normalisation["mean"],
            "std": normalisation["std"],
            "num_classes": classes,
            "classifier": last_linear(architecture(arch).build(classes=classes), arch),
        },
    }
    write_json(folder / "config.json", config)
    write_text(folder / "README.md", _readme(title, arch, normalisation, standing))


def library_state(backbone: LibraryBackbone, head: nn.Linear) -> dict[str, Tensor]:
    """Return the tensors of a network of a library under its own names, our head in the place of its last layer."""
    state = {name: tensor.detach() for name, tensor in backbone.network.state_dict().items()}
    return state | {f"{backbone.head_name}.{name}": tensor.detach() for name, tensor in head.state_dict().items()}


def _readme(title: str, arch: str, normalisation: dict[str, Any], standing: str) -> str:
    library = arch.split(":")[0]
    return "\n".join([
        "---", f"library_name: {library}", "tags: [image-classification, adversarial-robustness, robustft]", "---", "",
        f"# {title}", "", f"{arch}, fine-tuned by robustft. {standing}", "",
        f"Images in [0, 1] are normalised first: mean {normalisation['mean']}, std {normalisation['std']}.", "",
        "Upload it: `hf upload USER/NAME THIS_FOLDER`.", "",
    ])  # fmt: skip
