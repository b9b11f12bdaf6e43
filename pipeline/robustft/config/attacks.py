"""config/attacks.yaml: attacks on a finished model.

An attack is an algorithm and its budget. Norm and eps are those of the threat: of the evaluation, or its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta

from robustft.config.common import Ball, Count, Fraction, Maybe, Name, PartialBall, Share, Struct, Threat, refuse
from robustft.config.units import fault_of_step

Target = Annotated[
    str,
    Meta(
        pattern=r"^(exported_model|[a-z0-9_.]+[:.][A-Za-z_][A-Za-z0-9_]*)\Z",
        description="`exported_model`, or a function that makes what the gradient sees, such as pmg_aft.with_scale_1",
    ),
]


class Checks(Struct, frozen=True, kw_only=True):
    """The sanity checks of an attack.

    It leaves no more images correct than the attacks in `not_weaker_than`. The accuracy of an undefended control under
    it is below `control_below` (a share). Its accuracy is compared with that of the attack `gap_to`.
    """

    not_weaker_than: Maybe[list[Name]] = UNSET
    control_below: Maybe[Share] = UNSET
    gap_to: Maybe[Name] = UNSET


class Clean(Struct, tag_field="algorithm", tag="none", frozen=True, kw_only=True):
    """No attack."""

    title: str
    checks: Maybe[Checks] = UNSET


class Pgd(Struct, tag_field="algorithm", tag="pgd", frozen=True, kw_only=True):
    """Projected gradient ascent on an objective; its last iterate. Steps are exact fractions of eps."""

    title: str
    objective: Literal["cross_entropy", "margin"]
    steps: Count
    step_over_eps: Fraction
    start: Literal["none", "uniform"]
    target: Target
    source: Maybe[str] = UNSET
    threat: Maybe[Threat] = UNSET
    checks: Maybe[Checks] = UNSET

    def __post_init__(self) -> None:
        """Refuse a step of other units."""
        Struct.__post_init__(self)
        refuse(fault_of_step(self.step_over_eps))


class AutoAttack(Struct, tag_field="algorithm", tag="autoattack", frozen=True, kw_only=True):
    """The four attacks of AutoAttack's standard version: `iterations` of the first three, queries of the last."""

    title: str
    version: Literal["standard"]
    target: Target
    source: Maybe[str] = UNSET
    threat: Maybe[Threat] = UNSET
    iterations: Maybe[Count] = UNSET
    square_queries: Maybe[Count] = UNSET
    checks: Maybe[Checks] = UNSET


class Function(Struct, tag_field="algorithm", tag="function", frozen=True, kw_only=True):
    """An attack implemented by a function, with the ball that it is defined for, which need not be of pixels."""

    title: str
    implementation: str
    target: Target
    threat: Ball
    parameters: Maybe[dict[str, Any]] = UNSET
    source: Maybe[str] = UNSET
    checks: Maybe[Checks] = UNSET


class Attacks(Struct, frozen=True, kw_only=True):
    """The attacks by the name that ledgers, tables and claims use."""

    attacks: dict[Name, Clean | Pgd | AutoAttack | Function]


def with_strengths(attacks: dict[str, Any]) -> dict[str, Any]:
    """Return the attacks with one entry for each of the `strengths` of an attack, `NAME_LABEL`.

    `strengths` maps labels to eps, from weak to strong: each attack is checked against the one before it. {} in `title`
    and `source` is replaced by the label, with a slash for each underscore.
    """
    result: dict[str, Any] = {}
    for name, attack in attacks.items():
        if not isinstance(attack, dict) or not isinstance(attack.get("strengths"), dict):
            result[name] = attack
            continue
        common = {key: value for key, value in attack.items() if key != "strengths"}
        weaker = attack.get("checks", {}).get("not_weaker_than", [])
        for label, eps in attack["strengths"].items():
            texts = {key: str(attack[key]).replace("{}", str(label).replace("_", "/")) for key in ("title", "source")}
            checks = {**attack.get("checks", {}), "not_weaker_than": weaker}
            threat = {**attack.get("threat", {}), "eps": eps}
            result[f"{name}_{label}"] = {**common, **texts, "threat": threat, "checks": checks}
            weaker = [f"{name}_{label}"]
    return result


class AttackOverride(Struct, frozen=True, kw_only=True):
    """A scale's values of an attack."""

    threat: PartialBall = UNSET
    steps: Maybe[Count] = UNSET
    parameters: Maybe[dict[str, Any]] = UNSET
    iterations: Maybe[Count] = UNSET
    square_queries: Maybe[Count] = UNSET
