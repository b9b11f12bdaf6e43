"""Whether to trust a robust accuracy of a model of anyone's: each check, its limit, what its failure usually means.

The reasons are those that made published accuracies wrong (Athalye et al., ICML 2018; Carlini et al., 2019; Tramer et
al., NeurIPS 2020). The limits are measured on a bed of models with and without such a fault: docs/evaluate.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustft.report.sanity_checks import ERROR
from robustft.report.statistics import binomial_limit


@dataclass(frozen=True)
class Reason:
    """What is usually wrong, and what to do."""

    title: str
    usual: str
    to_do: str


REASONS = {
    "broken": Reason(
        "the outputs are no usable numbers",
        "weights are damaged, or a part of the model divides by zero",
        "find the layer that gives infinite or undefined values",
    ),
    "randomness": Reason(
        "the model is random",
        "it resizes, pads, drops or adds noise at random; one gradient is one draw",
        "attack the mean of many draws (expectation over transformation), or switch the randomness off",
    ),
    "normalisation": Reason(
        "the normalisation looks wrong",
        "the model was trained on images that were normalised outside of it",
        "name the normalisation of its training with --normalisation",
    ),
    "guessing": Reason(
        "the model is no better than guessing",
        "the classes are in another order, the weights are not loaded, or the images are of another kind",
        "compare the clean accuracy with the one that you know",
    ),
    "probabilities": Reason(
        "the model ends in a softmax",
        "cross-entropy takes a softmax of its own: over probabilities its gradients are tiny",
        "return the logits, before the softmax",
    ),
    "train_mode": Reason(
        "an image's result depends on the batch around it",
        "batch norm uses the statistics of the batch: the model, or a part of it, is in training mode",
        "call model.eval(), and use running statistics",
    ),
    "test_time": Reason(
        "the model optimises or learns at test time",
        "it takes gradients, or changes its weights, while it classifies; attacks do not see through that",
        "attack the whole procedure, with gradients through it, and count its cost (Croce et al., ICML 2022)",
    ),
    "abstains": Reason(
        "the model abstains",
        "it has a class for what it rejects, or constant outputs, or class numbers of another data set",
        "say how an abstention counts, and attack detector and classifier together",
    ),
    "huge_logits": Reason(
        "the logits are so large that cross-entropy has no gradient",
        "defensive distillation, a large temperature or scale: rounding makes the gradient exactly zero",
        "divide the logits by their scale, or attack the margin",
    ),
    "no_gradient": Reason(
        "the model has no gradient",
        "it rounds, quantises or compresses its input, or detaches it: gradient attacks stand still",
        "attack with a differentiable stand-in for that part (BPDA), and look at the black-box attack",
    ),
    "masked_gradients": Reason(
        "the gradients mislead",
        "discontinuous activations or a rugged loss: gradients do not point to adversarial images that exist",
        "trust no gradient attack; use more black-box queries, transfer, or a smooth stand-in",
    ),
    "too_few_steps": Reason(
        "the attack has too few steps",
        "more steps break many more images",
        "give the attack more steps, or trust AutoAttack alone",
    ),
    "attack": Reason(
        "an attack did not do what it should",
        "its images leave the ball or [0, 1], or are classified otherwise when they are passed again",
        "report it: this is a fault of the attack or of a model that is not a function of its input",
    ),
}
"""The reasons in the order in which they are told: the first explains those after it."""


@dataclass(frozen=True)
class Sign:
    """A check: the reason of its failure, what it measures, and how large it may be."""

    reason: str
    meaning: str
    limit: float = 0.0
    """The largest value; for a `share` the probability that an exact test allows for each image."""
    share: bool = False


SIGNS = {
    "logits_not_finite": Sign("broken", "share of logits that are infinite or undefined"),
    "better_normalisation": Sign("normalisation", "more images are right under another usual normalisation"),
    "pixels_outside": Sign("normalisation", "largest distance of a pixel from [0, 1]"),
    "guessing": Sign("guessing", "clean accuracy is within that of the commonest class"),
    "probabilities": Sign("probabilities", "outputs of an image are positive and sum to one"),
    "modules_in_training_mode": Sign("train_mode", "modules in training mode"),
    "relative_batch_difference": Sign("train_mode", "relative difference of logits alone and in a batch", 1e-3),
    "learns_at_test_time": Sign("test_time", "gradients, or changed weights, within a plain pass"),
    "repeat_difference": Sign("randomness", "largest difference of logits between two passes"),
    "abstains": Sign("abstains", "share with constant logits or a class of no image", 0.02, share=True),
    "vanishing_cross_entropy": Sign("huge_logits", "share where the margin alone has a gradient", 0.05, share=True),
    "margin_beats_cross_entropy": Sign("huge_logits", "share that only PGD on the margin breaks", 0.15, share=True),
    "no_gradient": Sign("no_gradient", "share with a gradient of exactly zero", 0.05, share=True),
    "misleading_gradient": Sign("masked_gradients", "share where the gradient's way is not up", 0.05, share=True),
    "random_beats_gradient": Sign("masked_gradients", "share that random points break, PGD not", 0.02, share=True),
    "one_step_beats_many": Sign("masked_gradients", "share that one step breaks and 20 do not", 0.05, share=True),
    "survives_any_change": Sign("masked_gradients", "share left where eps allows a grey image", 0.1, share=True),
    "black_box_not_stronger": Sign("masked_gradients", "share that only AutoAttack's black-box attack broke"),
    "more_steps_break": Sign("too_few_steps", "share that 100 steps break and 20 do not", 0.1, share=True),
    "eps0_changes": Sign("attack", "images whose class PGD changes at eps 0"),
    "over_eps": Sign("attack", "how far an adversarial image is beyond eps", 1e-6),
    "adversarial_pixels_outside": Sign("attack", "how far an adversarial pixel is outside [0, 1]"),
    "not_a_number": Sign("attack", "adversarial values that are undefined"),
    "rescored_differently": Sign("attack", "adversarial images that get another class when passed again"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One check of an evaluation."""

    check: str
    value: float
    limit: float
    reason: str
    meaning: str
    where: str = ""
    """The attack and threat that it was made under; empty for the model itself."""

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.value <= self.limit

    def as_json(self) -> dict[str, Any]:
        """Return plain values, with what a failure usually means."""
        told = {} if self.ok else {"usual": REASONS[self.reason].usual, "to_do": REASONS[self.reason].to_do}
        return {**vars(self), "ok": self.ok, **told}


def found(values: Mapping[str, float], *, images: int, where: str = "") -> list[Finding]:
    """Return a finding for each value that has a limit; shares are of so many images."""
    findings = []
    for check, sign in SIGNS.items():
        if check in values:
            limit = binomial_limit(images, sign.limit, ERROR) / images if sign.share and images else sign.limit
            findings.append(Finding(check, values[check], limit, sign.reason, sign.meaning, where))
    return findings


def beside(entry: Mapping[str, Any], where: str) -> Finding:
    """Return a check between attacks (`report/sanity_checks.py`) as a finding."""
    known = SIGNS.get(entry["check"])
    reason = known.reason if known else "masked_gradients"
    meaning = known.meaning if known else entry.get("text", entry["check"])
    return Finding(entry["check"], entry["value"], entry["limit"], reason, meaning, where)


def failed_reasons(findings: Sequence[Finding]) -> list[str]:
    """Return the reasons of the failed checks, the one that explains the others first."""
    failed = {one.reason for one in findings if not one.ok}
    return [reason for reason in REASONS if reason in failed]


def headline(findings: Sequence[Finding], *, autoattack: bool) -> str:
    """Return in one line whether to trust the numbers, and why."""
    reasons = failed_reasons(findings)
    if reasons:
        first, others = REASONS[reasons[0]], len(reasons) - 1
        more = f" ({others} more {'reason' if others == 1 else 'reasons'} below)" if others else ""
        return f"Do not trust these numbers yet: {first.title}. Usually {first.usual}.{more}"
    if not autoattack:
        return f"All {len(findings)} checks hold, but AutoAttack was not run: the robust accuracy is an upper bound."
    return f"Nothing speaks against these numbers: all {len(findings)} checks hold. Attacks give upper bounds."
