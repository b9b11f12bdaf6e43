"""`robustft verify`: who has signed what of the results that are here."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from robustft.errors import IntegrityError, RobustftError
from robustft.plan import RESULTS, Plan
from robustft.provenance import ssh
from robustft.provenance.audit_state import AuditReport
from robustft.provenance.facts import Fact
from robustft.provenance.rechecked import in_short
from robustft.provenance.roots import manifest_records
from robustft.provenance.statements import RUN, Statement, beside


@dataclass
class Verified:
    """What was found, in lines, and whether an allowed signer has signed the results as they are here."""

    lines: list[str] = field(default_factory=list)
    ok: bool = False


def verify(plan: Plan, folder: Path, *, signers: Path | None, report: AuditReport | None) -> Verified:
    """Check the statements and signatures beside the results in a folder such as `results/demo`.

    The results count as signed if an allowed signer has signed a statement of all planned papers, as they are here,
    no signature is false, and the audit (`report`; None if there was none) has no finding.
    """
    manifests, found = manifest_records(plan, folder.parent), Verified()
    signers = signers or _git_signers()
    statements, problems = beside(folder)
    signed, bad = False, bool(problems)
    found.lines += [f"false: {problem}" for problem in problems]
    for statement in statements:
        text, changed = _what(statement), statement.changed(manifests)
        if changed:
            text += f"; results have changed since: {', '.join(changed)}"
        found.lines.append(f"{statement.path}: {text}")
        for signature in statement.signatures:
            line, name, false = _checked(statement, signature, signers)
            found.lines.append(f"  {line}")
            bad |= false
            whole = set(manifests) <= set(statement.manifests)
            signed |= name is not None and statement.kind == RUN and whole and not changed
        if not statement.signatures:
            found.lines.append("  not signed")
    audited = report is None or report.ok
    if report is None:
        found.lines.append("audit: not made (--no-audit), so files may differ from the manifests that were signed")
    else:
        found.lines.append(f"audit: {'passed' if report.ok else f'{len(report.findings)} broken links'}")
    found.ok = signed and audited and not bad
    found.lines.append(_verdict(found.ok, signed=signed, bad=bad, audited=audited, signers=signers))
    return found


def _what(statement: Statement) -> str:
    try:
        about = "these results" if statement.kind == RUN else in_short(statement.predicate)
    except (KeyError, TypeError, ValueError, AttributeError):
        about = "in a form that is not known"
    return f"{about}, root {statement.root}"


def _checked(statement: Statement, signature: Path, signers: Path | None) -> tuple[str, str | None, bool]:
    """Return what is known of a signature, its allowed signer, and whether it is false."""
    try:
        key = ssh.signing_key(statement.data, signature)
    except IntegrityError as error:
        return f"FALSE: {signature.name}: {' '.join(str(error).split())}", None, True
    name = ssh.signer(statement.data, signature, signers) if signers else None
    if name is None:
        return f"signed with the {key}, which is nobody's among your allowed signers", None, False
    return f"signed by {name} ({key})", name, False


def _verdict(ok: bool, *, signed: bool, bad: bool, audited: bool, signers: Path | None) -> str:
    if ok:
        return "VERIFIED: the results here are those that an allowed signer has signed"
    reasons = ["a statement or signature is false"] if bad else []
    if not signed:
        who = f"an allowed signer ({signers})" if signers else "an allowed signer: give yours with --signers FILE"
        reasons.append(f"no statement of these results, as they are, is signed by {who}")
    if not audited:
        reasons.append("the audit has findings: robustft audit")
    return f"NOT VERIFIED: {'; '.join(reasons)}"


def _git_signers() -> Path | None:
    """Return the verifier's own file of allowed signers, as git knows it; one among the results proves nothing."""
    try:
        done = subprocess.run(
            ["git", "config", "--global", "--type=path", "gpg.ssh.allowedSignersFile"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None


def standing(statement: Statement) -> str:
    """Return by which keys a statement is signed, in words. Whose keys these are, `robustft verify` tells."""
    texts = []
    for signature in statement.signatures:
        try:
            texts.append(f"signed with the {ssh.signing_key(statement.data, signature)}")
        except IntegrityError:
            texts.append(f"{signature.name} IS NOT ITS SIGNATURE")
        except RobustftError:
            texts.append(f"{signature.name} was not checked, as ssh-keygen is not installed")
    return "; ".join(texts) or "not signed, so anybody may have written it"


def endorsements(plan: Plan) -> tuple[Fact, ...]:
    """Return what the statements beside the results of a plan say of them, and by which keys they are signed."""
    try:
        manifests = manifest_records(plan)
    except RobustftError:  # not run to the end: there is no root to speak of
        return ()
    facts = []
    for statement in beside(Path(RESULTS) / plan.scale)[0]:
        if not set(statement.manifests) & set(manifests):
            continue
        changed = [paper for paper in statement.changed(manifests) if paper in manifests]
        since = f"; CHANGED SINCE: {', '.join(changed)}" if changed else ""
        label = "Signed results" if statement.kind == RUN else "Run again by a verifier"
        facts.append(Fact(label, f"{_what(statement)}{since}; {standing(statement)}"))
    return tuple(facts)
