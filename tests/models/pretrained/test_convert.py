"""The `weights` step: a published file becomes a checkpoint that every consumer of a pre-training reads."""

from __future__ import annotations

import inspect
import io
import itertools
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.config.load import load_document
from robustft.errors import ConfigError, IntegrityError, RobustftError
from robustft.files import ROOT, sha256_file
from robustft.models.checkpoint import load_classifier, load_strict, read_checkpoint
from robustft.models.classifier import build_classifier
from robustft.models.pretrained import vit_formats
from robustft.models.pretrained.convert import convert
from robustft.models.tunings.zero_shot import ZeroShot
from robustft.runtime.components import locate
from robustft.runtime.context import Context
from robustft.train.step import initial_model

from . import published as files
from .published import CIFAR, CLIP_TINY, RESNET, VIT, lived

WEIGHTS = load_document(ROOT / "config" / "weights.yaml", "weights").values
BACKBONES = yaml.safe_load((ROOT / "config" / "backbones.yaml").read_text(encoding="utf-8"))["backbones"]
ENTRIES = WEIGHTS["weights"]
JPEGS = ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.xz"
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def spec_of(backbone, reader, *, classes=5, size=16, **weights):
    """The specification that the planner writes."""
    module = "vit_formats" if reader == "vit" else "checkpoint_formats"
    return {
        "weights": {
            "name": "toy",
            "reader": f"robustft.models.pretrained.{module}:{reader}",
            "licence": "MIT",
            **weights,
        },
        "backbone": backbone,
        "shape": [3, size, size],
        "classes": classes,
        "method": {"tuning": None},
    }


def converted(spec, tmp_path, content=None) -> Path:
    """Run the step on a file with that content, if there is one, and return its checkpoint."""
    inputs = {}
    if content is not None:
        torch.save(content, tmp_path / "file.download")
        inputs = {"file": tmp_path / "file.download"}
    context = Context(inputs=inputs, outputs={"checkpoint": tmp_path / "c.safetensors"}, scratch=tmp_path)
    convert(spec, context)
    return tmp_path / "c.safetensors"


@pytest.fixture(autouse=True)
def unconfined(request, monkeypatch):
    """Read files in this process, but where a test's name says "confined": one of its own takes seconds, for torch."""

    def called(function, arguments, *, log, **_):
        return function(**arguments, log=log), []

    if "confined" not in request.node.name:
        monkeypatch.setattr("robustft.models.pretrained.convert.call", called)


# -- the confined process ------------------------------------------------------------------------------------------


def test_a_file_is_read_in_a_confined_process_and_its_tensors_arrive(tmp_path):
    model = lived(CIFAR)
    content = files.cifar_resnet(model)
    content["linear.bias"] = torch.nn.Parameter(content["linear.bias"])
    loaded, _ = load_classifier(converted(spec_of(CIFAR, "cifar_resnet"), tmp_path, content))
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_tensor_that_stands_for_more_than_its_file_is_refused_by_the_confined_process(tmp_path):
    """A view of one number can have any size."""
    content = files.cifar_resnet(lived(CIFAR))
    content["conv1.weight"] = torch.zeros(1).expand(1 << 40)
    with pytest.raises(IntegrityError, match=r"cannot be read safely[\s\S]*delete .*file\.download and run snakemake"):
        converted(spec_of(CIFAR, "cifar_resnet"), tmp_path, content)


# -- the checkpoint ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "reader", "layout"),
    [(RESNET, "robust_imagenet", files.robust_imagenet), (CIFAR, "cifar_resnet", files.cifar_resnet)],
)
def test_a_published_file_becomes_a_checkpoint_that_loads_as_any_other(tmp_path, backbone, reader, layout):
    model = lived(backbone)
    loaded, about = load_classifier(converted(spec_of(backbone, reader), tmp_path, layout(model)))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.eval()(x), model(x))
    assert about == {
        **{"backbone": backbone, "shape": [3, 16, 16], "classes": 5, "prompts": None, "tuning": None},
        **dict.fromkeys(("dataset", "method", "seed", "scale")),
        "weights": {"name": "toy", "licence": "MIT"},
    }


def test_converting_twice_gives_equal_bytes(tmp_path):
    spec, content = spec_of(RESNET, "robust_imagenet"), files.robust_imagenet(lived(RESNET))
    first = converted(spec, tmp_path, content).read_bytes()
    torch.manual_seed(7)
    assert converted(spec, tmp_path, content).read_bytes() == first


def test_without_a_head_the_body_can_be_fine_tuned_on_any_classes(tmp_path):
    model = lived(VIT)
    spec = spec_of(VIT, "vit", classes=0, parameters={"drop": ["head"]})
    with pytest.warns(UserWarning, match="zero-element"):
        path = converted(spec, tmp_path, files.timm_vit(model))
    tensors, about = read_checkpoint(path)
    assert about["classes"] == 0
    assert tensors["head.weight"].shape == (0, 8)
    fresh = build_classifier(VIT, shape=[3, 16, 16], classes=7)
    load_strict(fresh, tensors, where=path, parts=["backbone", "normalise"])
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fresh.eval().features(x), model.features(x))
    with pytest.warns(UserWarning, match="zero-element"):
        bare, _ = load_classifier(path)
    assert bare(x).shape == (2, 0)


def test_a_head_that_is_neither_kept_nor_left_out_is_an_error(tmp_path):
    spec = spec_of(VIT, "vit", classes=0)
    with pytest.warns(UserWarning, match="zero-element"), pytest.raises(IntegrityError, match=r"head\.weight \(5, 8\)"):
        converted(spec, tmp_path, files.timm_vit(lived(VIT)))
    spec = spec_of(VIT, "vit", classes=5, parameters={"drop": ["head"]})
    with pytest.raises(IntegrityError, match=r"missing: \['head\.bias', 'head\.weight'\]"):
        converted(spec, tmp_path, files.timm_vit(lived(VIT)))
    assert not (tmp_path / "c.safetensors").exists()


def test_weights_of_another_normalisation_are_an_error(tmp_path):
    backbone = {**RESNET, "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    with pytest.raises(IntegrityError, match=r"(?s)another mean.*0\.5, 0\.5, 0\.5.*0\.485"):
        converted(spec_of(backbone, "robust_imagenet"), tmp_path, files.robust_imagenet(lived(RESNET)))


def test_weights_of_another_backbone_are_an_error(tmp_path):
    deeper = {**RESNET, "parameters": {**RESNET["parameters"], "blocks": [1, 1, 1, 2]}}
    with pytest.raises(IntegrityError, match=r"missing: \['backbone\.layer4\.1\."):
        converted(spec_of(deeper, "robust_imagenet"), tmp_path, files.robust_imagenet(lived(RESNET)))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
def test_clip_has_no_classes_until_a_data_set_brings_texts(tmp_path):
    files.openai_clip(files.tiny_clip(), tmp_path / "file.download")
    context = Context({"file": tmp_path / "file.download"}, {"checkpoint": tmp_path / "c"}, tmp_path)
    convert(spec_of(CLIP_TINY, "openai_clip", classes=0, size=8), context)
    tensors, about = read_checkpoint(tmp_path / "c")
    assert (about["classes"], about["prompts"]) == (1, [""])
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model, _ = load_classifier(tmp_path / "c", prompts=["a zero", "a one", "a two"])
    assert model(x).shape == (2, 3)
    assert load_classifier(tmp_path / "c")[0](x).shape == (2, 1)
    # As train does: a model of the data set's prompts takes the whole of it, then reads its texts once.
    fresh = build_classifier(CLIP_TINY, shape=[3, 8, 8], classes=3, prompts=["a zero", "a one", "a two"])
    load_strict(fresh, tensors, where=None, parts=["backbone", "head", "normalise"])
    torch.testing.assert_close(ZeroShot().prepare(fresh)(x), model(x), rtol=0, atol=1e-6)


# -- files of packages ---------------------------------------------------------------------------------------------


def test_a_package_file_other_than_the_one_on_record_is_refused(tmp_path):
    spec = spec_of(CIFAR, "cifar_resnet", package_file="pyautoattack/examples/model_test.pt", sha256="0" * 64)
    with pytest.raises(IntegrityError, match=r"(?s)not the one on record.*0000.*399f52da"):
        converted(spec, tmp_path)
    spec["weights"]["package_file"] = "pyautoattack/examples/none.pt"
    with pytest.raises(IntegrityError, match="no such file"):
        converted(spec, tmp_path)
    spec["weights"]["package_file"] = "no_such_package/model.pt"
    with pytest.raises(RobustftError, match="'no_such_package' that ships the weights 'toy'"):
        converted(spec, tmp_path)


@pytest.fixture(scope="module")
def cifar_resnet18(tmp_path_factory) -> Path:
    """The real thing: the ResNet-18 that AutoAttack's package ships, converted."""
    entry, folder = ENTRIES["cifar10_standard"], tmp_path_factory.mktemp("weights")
    spec = spec_of(BACKBONES[entry["backbone"]], "cifar_resnet", classes=entry["classes"], size=32)
    spec["weights"] |= {key: entry[key] for key in ("package_file", "sha256")}
    return converted(spec, folder)


def test_the_package_file_is_the_one_in_the_configuration(cifar_resnet18):
    tensors, _ = read_checkpoint(cifar_resnet18)
    assert sum(tensor.numel() for tensor in tensors.values()) == BACKBONES["resnet18_cifar"]["weights"]
    import pyautoattack

    entry = ENTRIES["cifar10_standard"]
    path = Path(pyautoattack.__file__).parent.parent / entry["package_file"]
    assert (path.stat().st_size, sha256_file(path)) == (entry["bytes"], entry["sha256"])


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Twenty test images of each class of CIFAR-10, from the lossy copy."""
    if not JPEGS.exists():
        pytest.skip("the JPEG copy of CIFAR-10 is not here")
    images, labels = [], []
    with tarfile.open(JPEGS) as archive:
        members = (m for m in archive if m.isfile() and m.name.startswith("test/"))
        for name, group in itertools.groupby(members, key=lambda member: member.name.split("/")[1]):
            for member in itertools.islice(group, 20):
                picture = Image.open(io.BytesIO(archive.extractfile(member).read()))
                images.append(np.asarray(picture.convert("RGB")))
                labels.append(CIFAR10.index(name))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255, torch.tensor(labels)


def test_the_resnet_of_cifar_knows_its_classes(cifar_resnet18, pictures):
    x, y = pictures
    model, _ = load_classifier(cifar_resnet18)
    with torch.inference_mode():
        right = (model.eval()(x).argmax(1) == y).sum().item()
    # 8,557 of all 10,000 images of this copy; of 200, 152 to 190 is within four standard deviations.
    assert y.bincount().tolist() == [20] * 10
    assert 152 <= right <= 190


def test_the_resnet_that_comes_with_autoattack_is_not_robust(cifar_resnet18, pictures):
    """It was planned as robust weights, because it is what AutoAttack's example attacks."""
    x, y = pictures[0][::10], pictures[1][::10]
    model, _ = load_classifier(cifar_resnet18)
    budget = Budget(ThreatModel("linf", Fraction(8, 255)), steps=10, step_over_eps=Fraction(1, 4))
    adversarial = pgd(model.eval(), x, budget=budget, objective=lambda z: F.cross_entropy(z, y), start="none")
    with torch.inference_mode():
        assert (model(adversarial).argmax(1) == y).sum().item() <= 1


# -- the configuration ---------------------------------------------------------------------------------------------


def test_every_file_is_used_and_every_entry_names_one_that_exists():
    used = {entry["file"] for entry in ENTRIES.values() if "file" in entry}
    assert used == set(WEIGHTS["files"])


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_fits_its_backbone_and_its_reader(name):
    entry = ENTRIES[name]
    backbone = BACKBONES[entry["backbone"]]
    assert entry["shape"] == backbone["shape"]
    inspect.signature(locate(entry["reader"])).bind(Path(), **entry.get("parameters", {}))
    if "file" in entry:
        arrays = WEIGHTS["files"][entry["file"]]["name"].endswith(".npz")
        assert entry["reader"].endswith(":vit_flax") == arrays


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if "vit" in e["reader"].split(":")[1]])
def test_a_vision_transformer_of_224_pixels_is_cut_to_its_backbone(name, monkeypatch):
    # Of the published width, on the meta device, one block for all: the reader gives the shapes of the backbone.
    entry = ENTRIES[name]
    backbone = {"name": entry["backbone"], **BACKBONES[entry["backbone"]]}
    backbone["parameters"] = {**backbone["parameters"], "depth": 1}
    large = {**backbone, "parameters": {**backbone["parameters"], "image_size": 224, "patch_size": 16}}
    dropped = entry.get("parameters", {}).get("drop", [])
    with torch.device("meta"):
        state = files.timm_vit(build_classifier(large, shape=[3, 224, 224], classes=entry["classes"] or 21843))
        state |= {f"{part}.weight": torch.empty(1) for part in dropped if part != "head"}
        small = build_classifier(backbone, shape=entry["shape"], classes=entry["classes"])
    monkeypatch.setattr(vit_formats, "read_pickle", lambda path: state)
    path = Path(__file__)  # any file: it is not a safetensors file, and what it holds is above
    tensors = vit_formats.vit(path, **entry.get("parameters", {}))
    shapes = {k: v.shape for k, v in small.state_dict().items() if not k.startswith("normalise.")}
    if not entry["classes"]:
        shapes = {k: v for k, v in shapes.items() if not k.startswith("head.")}
    assert {k: v.shape for k, v in tensors.items()} == shapes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reader:", "readr:", "unknown key 'readr'.*did you mean 'reader'"),
        ("    classes: 1000\n", "", "the key 'classes' is missing"),
        ("sha256_prefix: e5005f0a", "sha256_prefix: e5005f", "'e5005f' is not a valid value"),
        ("sha256_prefix: 4ee7a4dc", "bytes: 3", "vit_l16_original_in21k_1k"),
        ("    file: deit_tiny\n", "", "deit_tiny"),
    ],
)
def test_a_wrong_entry_is_an_error_that_says_where(tmp_path, old, new, message):
    text = (ROOT / "config" / "weights.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "weights.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_document(tmp_path / "weights.yaml", "weights")


def test_a_file_without_any_checksum_says_so_and_a_prefix_is_the_one_in_the_files_name():
    for file in WEIGHTS["files"].values():
        if not {"md5", "sha256", "sha256_prefix"} & set(file):
            assert "no checksum" in file["note"]
        if "sha256_prefix" in file:
            assert file["name"].rpartition(".")[0].endswith(f"-{file['sha256_prefix']}")
        assert all(url.rpartition("/")[2] == file["name"] for url in file["urls"])
    clip = WEIGHTS["files"]["openai_clip_vit_b32"]
    assert clip["sha256"] in clip["urls"][0]


# -- consumers -------------------------------------------------------------------------------------------------------


def training_spec(backbone, prompts=None):
    dataset = {"shape": [3, 16, 16], "classes": [0, 1, 2], "prompts": prompts}
    initial = {"from": [], "parts": None, "derivation": None}
    return {"seed": 0, "backbone": backbone, "dataset": dataset, "initial": initial}


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning", "ignore:Initializing zero-element"
)
def test_training_starts_from_converted_weights_with_a_head_of_its_own_or_texts_of_its_own(tmp_path):
    vit = lived(VIT)
    path = converted(spec_of(VIT, "vit", classes=0, parameters={"drop": ["head"]}), tmp_path, files.timm_vit(vit))
    model = initial_model(training_spec(VIT), {"initial": path})
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.features(x), vit.features(x))
    assert model(x).shape == (2, 3)

    resnet = lived(RESNET)
    path = converted(spec_of(RESNET, "robust_imagenet"), tmp_path, files.robust_imagenet(resnet))
    model = initial_model(training_spec(RESNET), {"initial": path}).eval()
    assert torch.equal(model.features(x), resnet.features(x))
    assert model(x).shape == (2, 3)

    files.openai_clip(files.tiny_clip(), tmp_path / "file.download")
    context = Context({"file": tmp_path / "file.download"}, {"checkpoint": tmp_path / "c"}, tmp_path)
    convert(spec_of(CLIP_TINY, "openai_clip", classes=0, size=8), context)
    texts = ["a zero", "a one", "a two"]
    model = initial_model(training_spec(CLIP_TINY, texts), {"initial": tmp_path / "c"})
    assert torch.equal(model(x), load_classifier(tmp_path / "c", prompts=texts)[0](x))
