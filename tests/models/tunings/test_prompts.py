from __future__ import annotations

import math

import pytest
import torch

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.errors import ConfigError
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.protocol import Tuned
from robustft.models.backbones.vit import ViT
from robustft.models.checkpoint import load_classifier, save_checkpoint
from robustft.models.tunings.prompts import PromptedViT, PromptTuning, without_prompts
from robustft.speed.optimizations import Optimizations, apply_optimizations
from tests.methods.cases import BUDGET, seeded
from tests.models.toy_vit import BACKBONE, CLASSES, full_size, images, toy_vit, trained

PT = PromptTuning(length=3, depth=1, attack="traditional")
DEEP = PromptTuning(length=3, depth="all", attack="traditional")
ADAPTIVE = PromptTuning(length=3, depth="all", attack="adaptive")
VIT_B, VIT_L = {"width": 768, "depth": 12, "heads": 12}, {"width": 1024, "depth": 24, "heads": 16}
Y = torch.arange(6) % CLASSES


def prompted(tuning, *, scale=1.0, depth=None):
    """A toy with prompts; of the size of tokens with scale 10, so that it matters whether they are there."""
    model = toy_vit()
    if depth is not None:
        torch.manual_seed(3)
        model.backbone = ViT(channels=1, image_size=8, patch_size=2, width=8, depth=depth, heads=2).double().eval()
    model = tuning.prepare(model)
    with torch.no_grad():
        model.backbone.prompts.mul_(scale)
    return model


def sequences(backbone, x):
    """What enters and leaves each block, and the features."""
    seen = []
    hooks = [b.register_forward_hook(lambda _, given, out: seen.append((given[0], out))) for b in backbone.vit.blocks]
    features = backbone(x)
    for hook in hooks:
        hook.remove()
    return seen, features


# Section 7 of the fact sheet: (size, image, patch, L, total, prompts, prompts and head, and the patch embedding).
@pytest.mark.parametrize(
    ("size", "image", "patch", "length", "total", "prompts", "with_head", "with_patches"),
    [
        (VIT_B, 32, 4, 25, 85_152_010, 230_400, (238_090, 0.280), (275_722, 0.324)),
        (VIT_B, 32, 4, 100, 85_152_010, 921_600, (929_290, 1.091), (966_922, 1.136)),
        (VIT_B, 224, 16, 25, 85_806_346, 230_400, (238_090, 0.277), (828_682, 0.966)),
        (VIT_L, 32, 4, 25, 302_439_434, 614_400, (624_650, 0.207), None),
    ],
)
def test_published_parameter_counts(size, image, patch, length, total, prompts, with_head, with_patches):
    def tuned(**settings):
        model = full_size(**size, image=image, patch=patch)
        assert sum(p.numel() for p in model.parameters()) == total
        with torch.device("meta"):
            return PromptTuning(length=length, depth="all", attack="adaptive", **settings).prepare(model)

    assert trained(tuned(train_head=False, train_patch_embedding=False)) == prompts
    only_head = trained(tuned(train_patch_embedding=False))
    assert (only_head, round(100 * only_head / total, 3)) == with_head
    if with_patches is not None:
        everything = trained(tuned())
        assert (everything, round(100 * everything / total, 3)) == with_patches


def test_prompts_of_the_first_block_alone_are_19200_weights_of_vit_b():
    with torch.device("meta"):
        model = PromptTuning(length=25, depth=1, attack="adaptive").prepare(full_size(**VIT_B, image=32, patch=4))
    assert model.backbone.prompts.numel() == 19_200
    assert trained(model.backbone.vit.patch_embed) == 37_632
    assert trained(model.head) == 7_690


@pytest.mark.parametrize(("blocks", "bound"), [(12, 0.00500), (1, 0.01733)])
def test_prompts_start_uniform_with_a_bound_that_shrinks_with_their_number(blocks, bound):
    torch.manual_seed(0)
    vit = ViT(channels=1, image_size=8, patch_size=4, width=768, depth=1, heads=12)
    prompts = PromptedViT(vit, length=25, blocks=range(blocks)).prompts.detach()
    assert prompts.shape == (1, 25, 768, blocks)
    a = math.sqrt(6 / (26 * 768 * blocks))
    assert round(a, 5) == bound
    assert 0.999 * a < prompts.max() <= a
    assert -a <= prompts.min() < -0.999 * a
    assert prompts.std().item() == pytest.approx(a / math.sqrt(3), rel=0.02)


def test_prompts_come_before_the_class_token_without_position_embedding_and_the_class_token_is_read():
    model = prompted(PT)
    x, backbone = images(), model.backbone
    seen, features = sequences(backbone, x)
    first = seen[0][0]
    assert first.shape == (6, 3 + 17, 8)
    assert torch.equal(first[:, :3], backbone.prompts[..., 0].expand(6, -1, -1))
    assert torch.equal(first[:, 3:], backbone.vit.embed(x))
    assert torch.equal(features, backbone.vit.norm(seen[-1][1])[:, 3])


def test_prompts_of_the_first_block_travel_on():
    seen, _ = sequences(prompted(PT).backbone, images())
    assert torch.equal(seen[1][0], seen[0][1])


def test_deep_prompts_replace_those_of_the_block_before():
    backbone = prompted(DEEP, depth=3).backbone
    assert backbone.blocks == (0, 1, 2)
    seen, _ = sequences(backbone, images())
    for number in (1, 2):
        given, before = seen[number][0], seen[number - 1][1]
        assert torch.equal(given[:, :3], backbone.prompts[..., number].expand(6, -1, -1))
        assert torch.equal(given[:, 3:], before[:, 3:])
        assert given.shape == before.shape


def test_prompts_may_begin_at_a_later_block_and_end_before_the_last():
    backbone = prompted(PromptTuning(length=3, depth=[1, 2], attack="adaptive"), depth=4).backbone
    assert backbone.prompts.shape == (1, 3, 8, 2)
    seen, features = sequences(backbone, images())
    assert [given.shape[1] for given, _ in seen] == [17, 20, 20, 20]
    assert torch.equal(seen[2][0][:, :3], backbone.prompts[..., 1].expand(6, -1, -1))
    assert torch.equal(seen[3][0], seen[2][1])
    assert torch.equal(features, backbone.vit.norm(seen[-1][1])[:, 3])


def test_a_depth_of_k_prompts_the_first_k_blocks():
    assert prompted(PromptTuning(length=3, depth=2, attack="adaptive"), depth=4).backbone.blocks == (0, 1)


def test_switched_off_prompts_leave_exactly_the_plain_network():
    x, plain = images(), toy_vit()
    model = prompted(DEEP, scale=10)
    torch.testing.assert_close(model.head.weight, plain.head.weight)
    with torch.no_grad():
        expected = plain(x)
        assert not torch.allclose(model(x), expected, atol=1e-3)
        assert torch.equal(without_prompts(model)(x), expected)
        with DEEP.attacked(model):
            assert torch.equal(model(x), expected)
        assert not torch.allclose(model(x), expected, atol=1e-3)


def test_the_network_without_prompts_shares_weights_and_modes_and_a_plain_one_is_itself():
    model = prompted(DEEP).train()
    model.head.eval()
    bare = without_prompts(model)
    assert bare.backbone is model.backbone.vit
    assert bare.head is model.head
    assert (bare.training, model.head.training) == (True, False)
    plain = toy_vit()
    assert without_prompts(plain) is plain


def test_the_network_without_prompts_has_the_optimizations_of_the_model():
    model = prompted(DEEP)
    apply_optimizations(model, Optimizations(folded_batch_norm=False))
    assert without_prompts(model).optimizations == Optimizations(folded_batch_norm=False)


def test_a_traditional_attack_is_one_on_the_network_without_prompts_and_an_adaptive_one_is_not():
    x, attack = images(), AdversarialTraining()
    model = prompted(DEEP, scale=10)
    bare = maximise_cross_entropy(without_prompts(model), x, Y, budget=BUDGET, generator=seeded())
    full = maximise_cross_entropy(model, x, Y, budget=BUDGET, generator=seeded())
    adversarial = {
        name: Tuned(attack, tuning).attack(model, x, Y, budget=BUDGET, generator=seeded())
        for name, tuning in {"traditional": DEEP, "adaptive": ADAPTIVE}.items()
    }
    assert torch.equal(adversarial["traditional"], bare)
    assert torch.equal(adversarial["adaptive"], full)
    assert not torch.equal(bare, full)


def test_prompts_are_switched_on_again_after_an_attack_that_fails():
    model, seen = prompted(DEEP), []

    def fail():
        with DEEP.attacked(model):
            seen.append(model.backbone.prompted)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (seen, model.backbone.prompted) == ([False], True)


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("patches", [True, False])
def test_gradients_reach_exactly_what_is_trained(head, patches):
    tuning = PromptTuning(length=3, depth=1, attack="adaptive", train_head=head, train_patch_embedding=patches)
    model = prompted(tuning).train()
    wanted = {"backbone.prompts"}
    wanted |= {"head.weight", "head.bias"} if head else set()
    wanted |= {f"backbone.vit.patch_embed.proj.{name}" for name in ("weight", "bias")} if patches else set()
    torch.nn.functional.cross_entropy(model(images()), Y).backward()
    parameters = dict(model.named_parameters())
    assert {name for name, p in parameters.items() if p.requires_grad} == wanted
    assert {name for name, p in parameters.items() if p.grad is not None and p.grad.any()} == wanted


def test_every_deep_prompt_has_a_gradient_of_its_own():
    model = prompted(DEEP)
    torch.nn.functional.cross_entropy(model(images()), Y).backward()
    assert model.backbone.prompts.grad.flatten(0, 2).abs().sum(0).gt(0).all()


def test_the_prompts_of_one_image_do_not_depend_on_its_batch():
    model, x = prompted(DEEP, scale=10), images()
    with torch.no_grad():
        whole = model(x)
        alone = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-12)


def test_a_checkpoint_brings_its_prompts_back(tmp_path):
    torch.manual_seed(4)
    model = prompted(DEEP, scale=10).float()
    settings = {"length": 3, "depth": "all", "attack": "traditional"}
    tuning = {"implementation": "robustft.models.tunings.prompts:PromptTuning", "parameters": settings}
    about = {"backbone": BACKBONE, "shape": [1, 8, 8], "classes": CLASSES, "tuning": tuning}
    save_checkpoint(tmp_path / "c.safetensors", model, about=about)
    loaded, _ = load_classifier(tmp_path / "c.safetensors")
    x = images(dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x), model(x))
        assert torch.equal(without_prompts(loaded)(x), without_prompts(model)(x))


def test_equal_seeds_give_equal_prompts():
    def drawn(seed):
        model = toy_vit()
        torch.manual_seed(seed)
        return DEEP.prepare(model).backbone.prompts

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_a_network_without_tokens_and_blocks_that_are_not_there_are_refused(tiny_model):
    with pytest.raises(ConfigError, match="vision transformer"):
        PT.prepare(tiny_model())
    for depth in (0, 3, [2], [1, 0], [0, 0], [-1], []):
        with pytest.raises(ConfigError, match="prompts"):
            PromptTuning(length=3, depth=depth, attack="adaptive").prepare(toy_vit())
    with pytest.raises(ConfigError, match="at least one prompt"):
        PromptTuning(length=0, depth=1, attack="adaptive")
    with pytest.raises(ConfigError, match="'traditional' or 'adaptive'"):
        PromptTuning(length=3, depth=1, attack="both")
