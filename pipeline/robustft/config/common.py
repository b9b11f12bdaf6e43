"""Parts of several kinds of documents: names, exact fractions, threat model, recipe, downloads.

Every mapping of the configuration is a frozen struct that refuses unknown keys. A key that may be left out has the type
`Maybe[...]`; its absence is UNSET, never null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType, structs

from robustft.config.units import fault_of_eps, fault_of_step

T = TypeVar("T")
Maybe: TypeAlias = T | UnsetType

Name = Annotated[str, Meta(pattern=r"^[a-z0-9_]+\Z", description="a name of small letters, digits and underscores")]
Component = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9_.]+:[A-Za-z_][A-Za-z0-9_]*|[a-z0-9_]+\.[A-Za-z_][A-Za-z0-9_]*)\Z",
        description="`module.Name` of this package's own, such as trades.Trades, or `package.module:Name` of yours",
    ),
]
Count = Annotated[int, Meta(ge=1, description="a whole number from 1 on")]
Whole = Annotated[int, Meta(ge=0, description="a whole number from 0 on")]
Positive = Annotated[float, Meta(gt=0, description="a number above 0")]
NotNegative = Annotated[float, Meta(ge=0, description="a number from 0 on")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Names = Annotated[list[Name], Meta(min_length=1)]
Counts = Annotated[list[Whole], Meta(min_length=1)]
Shape = Annotated[list[Count], Meta(min_length=3, max_length=3, description="(C, H, W) of images")]
Color = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}\Z", description='a colour such as "#0072B2"')]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hexadecimal digits")]
Confidence = Literal["direct", "secondary", "missing"]
"""The source of a published value: read in its paper, read in another paper, or not read at all."""
Selection = Literal["test", "validation", "last"]
"""How the checkpoint of a published value was chosen: by its accuracy on these images, or the last one."""
Fraction = Annotated[
    Annotated[str, Meta(pattern=r"^([0-9]+(/[1-9][0-9]*)?|[0-9]*\.[0-9]+)\Z")] | Whole,
    Meta(description="an exact fraction such as 8/255; a decimal must be quoted, so that it stays exact"),
]


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping with these keys and no other keys."""

    def __post_init__(self) -> None:
        """Refuse a list with a repeated name or seed."""
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, list) and value and not isinstance(value[0], dict | list | float | Struct):
                twice = next((one for number, one in enumerate(value) if one in value[:number]), None)
                if twice is not None and field not in REPEATED:
                    raise ValueError(f"'{field}' has '{twice}' twice")


REPEATED = ("shape", "milestones", "seeds_of_images", "resize")
"""Lists that may repeat a value."""


class Ball(Struct, frozen=True, kw_only=True):
    """A change by up to eps in a norm, in a space that an attack defines: of pixels, coefficients, displacements."""

    norm: Literal["linf", "l2", "l1"]
    eps: Fraction


class Threat(Ball, frozen=True, kw_only=True):
    """The threat model: a change of an image by up to eps in a norm, in units of its range [0, 1]."""

    def __post_init__(self) -> None:
        """Refuse an eps of other units. The planner judges what depends on an image's shape."""
        if _has(self, "norm", "eps"):
            refuse(fault_of_eps(self.norm, self.eps))


class TrainingAttack(Struct, frozen=True, kw_only=True):
    """The inner maximisation of training: number of steps, and step size as a fraction of eps."""

    steps: Count
    step_over_eps: Fraction

    def __post_init__(self) -> None:
        """Refuse a step of other units."""
        if _has(self, "step_over_eps"):
            refuse(fault_of_step(self.step_over_eps))


class Monitor(Struct, frozen=True, kw_only=True):
    """Measurements during training: an attack on the first images of the training and validation splits."""

    attack: Name
    every_epochs: Count
    images: Count


class LossAlong(Struct, frozen=True, kw_only=True):
    """The loss of a finished run along the perturbations of attacks, on its first test images.

    `multiples` are steps along a perturbation: 0 is the image itself, 1 the attacked image. Of other methods than
    `methods` it is not measured.
    """

    attacks: Names
    multiples: Annotated[list[NotNegative], Meta(min_length=1)]
    images: Count
    methods: Names


class Diagnostics(Struct, frozen=True, kw_only=True):
    """The number of steps of each epoch that measure norms of weights and gradients, and losses after the last one."""

    steps_per_epoch: Whole
    loss_along: Maybe[LossAlong] = UNSET


class Recipe(Struct, frozen=True, kw_only=True):
    """The optimisation of a run.

    `milestones` are epochs after which the learning rate is multiplied by `gamma` (schedule `steps`). The rate rises
    over `warmup_steps` from `warmup_from` times `lr`, and ends at `lr_end` (schedule `cosine`). The schedule begins
    after the warm-up, or with the first epoch, in which the warm-up takes its place (`warmup: first_epoch`). Weights
    whose name contains a text of `no_weight_decay` are not decayed; those whose name begins with one of
    `lr_factors` have that many times the learning rate. `selection` is the epoch of the final weights.
    """

    epochs: Count
    batch_size: Annotated[int, Meta(ge=2, description="a whole number from 2 on")]
    optimizer: Literal["sgd", "adamw"]
    lr: Positive
    momentum: Share
    nesterov: bool
    weight_decay: NotNegative
    schedule: Literal["steps", "cosine", "cyclic", "constant"]
    milestones: list[Whole]
    gamma: Positive
    precision: Literal["float32", "bfloat16"]
    selection: Literal["last", "best_validation"]
    warmup_steps: Maybe[Whole] = UNSET
    warmup_from: Maybe[Share] = UNSET
    warmup: Maybe[Literal["before_schedule", "first_epoch"]] = UNSET
    lr_end: Maybe[NotNegative] = UNSET
    clip_grad_norm: Maybe[Positive] = UNSET
    no_weight_decay: Maybe[Annotated[list[str], Meta(min_length=1)]] = UNSET
    lr_factors: Maybe[Annotated[dict[str, Positive], Meta(min_length=1)]] = UNSET


class Evaluation(Struct, frozen=True, kw_only=True):
    """Attacks on a run's model over images of a split, into one ledger of `parts` files.

    `shard_images` is the attack's batch. Default: all `images` of the split, the data set that the run was trained on
    (`datasets`), all methods and all seeds. `threat` overrides values of the experiment's threat.
    """

    attacks: Names
    split: Literal["test", "validation"]
    shard_images: Count
    parts: Count
    images: Maybe[Count] = UNSET
    datasets: Maybe[Names] = UNSET
    methods: Maybe[Names] = UNSET
    seeds: Maybe[Counts] = UNSET
    threat: Maybe[PartialThreat] = UNSET


class PartParameters(Struct, frozen=True, kw_only=True):
    """Changed parameters of a component."""

    parameters: dict[str, Any]


def partial(kind: type[msgspec.Struct]) -> Any:
    """Return a struct with the same keys, all optional, and the same checks: a layer over another layer."""
    fields = [(field.name, _PARTIAL.get(field.type, field.type) | UnsetType, UNSET) for field in structs.fields(kind)]
    _PARTIAL[kind] = part = msgspec.defstruct(
        f"Partial{kind.__name__}",
        fields,
        bases=(Struct,),
        namespace={"__post_init__": kind.__post_init__},  # type: ignore[attr-defined]  # every kind is a Struct
        kw_only=True,
        frozen=True,
    )
    return part


_PARTIAL: dict[Any, Any] = {}

if TYPE_CHECKING:
    PartialBall: TypeAlias = Any
    PartialThreat: TypeAlias = Any
    PartialTrainingAttack: TypeAlias = Any
    PartialMonitor: TypeAlias = Any
    PartialDiagnostics: TypeAlias = Any
    PartialRecipe: TypeAlias = Any
    PartialEvaluation: TypeAlias = Any
else:
    PartialBall, PartialThreat = partial(Ball), partial(Threat)
    PartialTrainingAttack, PartialMonitor = partial(TrainingAttack), partial(Monitor)
    _PARTIAL[Maybe[LossAlong]] = partial(LossAlong)
    PartialDiagnostics = partial(Diagnostics)
    PartialRecipe, PartialEvaluation = partial(Recipe), partial(Evaluation)


class Layer(Struct, frozen=True, kw_only=True):
    """The training settings of a scale or an experiment, a layer over earlier ones."""

    recipe: PartialRecipe = UNSET
    training_attack: PartialTrainingAttack = UNSET
    monitor: PartialMonitor = UNSET
    diagnostics: PartialDiagnostics = UNSET


class Override(Struct, frozen=True, kw_only=True):
    """The settings of a scale or an experiment for one method."""

    recipe: PartialRecipe = UNSET
    parameters: Maybe[dict[str, Any]] = UNSET
    tuning: Maybe[PartParameters] = UNSET
    derivation: Maybe[PartParameters] = UNSET


class File(Struct, frozen=True, kw_only=True):
    """A downloaded file: its published hash, and its addresses.

    `sha256_prefix` has the first digits of the hash, 8 at least, if only they are published. If no hash is published, a
    `note` says so. `manual` describes how to get a file without an address. `members` has the published MD5 of each
    file of an archive by its name: a mirror may hold these files instead of the archive.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
    urls: Maybe[Annotated[list[Annotated[str, Meta(pattern=r"^https?://")]], Meta(min_length=1)]] = UNSET
    bytes: Maybe[Count] = UNSET
    md5: Maybe[Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]] = UNSET
    sha256: Maybe[Sha256] = UNSET
    sha256_prefix: Maybe[Annotated[str, Meta(pattern=r"^[0-9a-f]{8,63}\Z")]] = UNSET
    members: Maybe[Annotated[dict[str, Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]], Meta(min_length=1)]] = UNSET
    manual: Maybe[str] = UNSET
    note: Maybe[str] = UNSET

    def __post_init__(self) -> None:
        """Refuse a file without a hash or note, and a file without an address or manual."""
        Struct.__post_init__(self)
        if all(value is UNSET for value in (self.md5, self.sha256, self.sha256_prefix, self.note)):
            raise ValueError(
                "give a published hash: md5, sha256 or sha256_prefix; where there is none, a `note` that says so"
            )
        if self.urls is UNSET and self.manual is UNSET:
            raise ValueError("say where to get it: `urls`, or in `manual` what to do to have it")


def _has(struct: Struct, *keys: str) -> bool:
    """Tell whether a struct has keys, which a layer may lack."""
    return all(getattr(struct, key) is not UNSET for key in keys)


def refuse(fault: str | None) -> None:
    """Raise ValueError with a fault, if there is one."""
    if fault:
        raise ValueError(fault)


def require(struct: Struct, *choices: tuple[str, ...]) -> None:
    """Raise ValueError unless a struct has all keys of one of the choices."""
    if not any(_has(struct, *choice) for choice in choices):
        names = " or ".join(" with ".join(f"'{key}'" for key in choice) for choice in choices)
        raise ValueError(f"give {names}")
