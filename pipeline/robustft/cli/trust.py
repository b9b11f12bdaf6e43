"""Commands for those who doubt: recheck re-executes a sample, sign and verify bind results to a key."""

from __future__ import annotations

import argparse
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from robustft.cli.common import logger, place, planned
from robustft.escape import terminal

if TYPE_CHECKING:
    from robustft.cli.parser import CommandLine
    from robustft.plan import Plan

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Return the seconds of a duration such as 90s, 10m or 2h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is no duration such as 90s, 10m or 2h")
    return float(match[1]) * UNITS[match[2]]


def count(text: str) -> int:
    """Return a number of steps, 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of steps")
    return int(text)


def add_trust(line: CommandLine) -> None:
    """Add the commands to the parser."""
    text = "run a random sample of results again, and say what that shows of the others"
    recheck = line.add("recheck", text, recheck_command)
    recheck.add_argument(
        "--results", metavar="FOLDER", type=place, default=Path("results"), help="the results to check"
    )
    recheck.add_argument("--ledgers", metavar="K", type=count, help="how many ledgers (default: 20, or by --budget)")
    recheck.add_argument("--trainings", metavar="T", type=count, default=0, help="how many trainings (default: none)")
    recheck.add_argument("--budget", metavar="TIME", type=seconds, help="choose K so that it takes about 90s, 10m, 2h")
    draw = recheck.add_mutually_exclusive_group()
    draw.add_argument("--seed", metavar="N", help="decides the draw (default: a random one, which is printed)")
    draw.add_argument("--nonce", metavar="TEXT", help="derive the seed from this and the root, as anybody can again")
    recheck.add_argument(
        "--sources", metavar="FOLDER", type=place, help="a results folder of your own with data decoded before"
    )
    recheck.add_argument("--to", metavar="FILE", type=place, help="where its result goes (default: rechecks/SCALE/)")
    recheck.epilog = "Exit status: 0 everything agrees, 1 something differs, 2 it could not be run."
    sign = line.add("sign", "audit the results and sign their root, or sign a recheck, with an SSH key", sign_command)
    sign.add_argument("statement", nargs="?", type=place, metavar="FILE", help="a recheck to sign instead")
    sign.add_argument("--key", metavar="FILE", type=place, help="an SSH key; without it the statement is not signed")
    verify = line.add("verify", "audit the results and check the signatures beside them", verify_command)
    verify.add_argument(
        "--signers", metavar="FILE", type=place, help="your allowed signers (default: git's gpg.ssh.allowedSignersFile)"
    )
    verify.add_argument("--no-audit", action="store_true", help="check signatures and manifests alone; it will say so")


def recheck_command(arguments: argparse.Namespace) -> int:
    """Run a sample again. The exit status is 1 if something differs."""
    from robustft.files import write_json
    from robustft.provenance.rechecked import learned, mismatches
    from robustft.recheck import Limits, recheck
    from robustft.recheck.draw import seed_of
    from robustft.recheck.recorded import Recorded, results_folder

    plan = planned(arguments)
    recorded = Recorded(plan, results_folder(arguments.results, plan.scale))
    seed = seed_of(arguments.nonce, recorded.root) if arguments.nonce is not None else arguments.seed
    seed = seed or str(secrets.randbits(64))
    own = results_folder_of_sources(arguments.sources)
    limits = Limits(arguments.ledgers, arguments.trainings, arguments.budget)
    statement = recheck(plan, recorded, seed=seed, limits=limits, own=own, log=logger("recheck"))
    predicate = statement["predicate"]
    if arguments.nonce is not None:
        predicate["nonce"] = arguments.nonce
    path = arguments.to or Path("rechecks") / plan.scale / f"{recorded.root[:12]}-{seed[:12]}.json"
    write_json(path, statement)
    print("\n".join(learned(predicate)))
    print(f"root: {recorded.root}\nresult: {path}")
    print(f"next: robustft sign {path} --key KEY; beside results it belongs into results/{plan.scale}/rechecks/")
    return 1 if mismatches(predicate) else 0


def results_folder_of_sources(folder: Path | None) -> Path | None:
    """Return the verifier's own results folder, which has `data/`. Raises RobustftError if it has none."""
    from robustft.errors import RobustftError

    if folder is None:
        return None
    for candidate in (folder, folder / "results", folder.parent):
        if (candidate / "data").is_dir():
            return candidate.resolve()
    raise RobustftError("the folder holds no decoded data", where=folder, expected="results, with data/ in it")


def sign_command(arguments: argparse.Namespace) -> int:
    """Write the statement of the results and sign it, or sign another statement."""
    from robustft.provenance.statements import place as placed
    from robustft.provenance.statements import sign

    path = arguments.statement or placed(_audited_statement(planned(arguments)), _folder(planned(arguments)))
    print(f"statement: {path}")
    if arguments.key is None:
        print("not signed: give --key FILE, an SSH key, or sign this file with another program")
        return 0
    signature, key = sign(path, arguments.key)
    print(f"signature: {signature}\nsigned by: {key}")
    return 0


def _folder(plan: Plan) -> Path:
    from robustft.plan import RESULTS

    return Path(RESULTS) / plan.scale


def _audited_statement(plan: Plan) -> dict[str, object]:
    """Return the statement of results whose audit passes. Raises RobustftError if it does not."""
    from robustft.export.audit_gate import audited
    from robustft.provenance.record import read_record
    from robustft.provenance.roots import manifest_records
    from robustft.provenance.statements import run_statement

    report = audited(plan, unaudited=False, log=logger("sign")).report
    records = (read_record(step.record).values for step in plan.steps.values())
    return run_statement(plan.scale, manifest_records(plan), records, content_root=report.content_root)


def verify_command(arguments: argparse.Namespace) -> int:
    """Print what is signed by whom. The exit status is 1 unless an allowed signer has signed what is here."""
    from robustft.provenance.audit import audit
    from robustft.provenance.verify import verify

    plan = planned(arguments)
    report = None if arguments.no_audit else audit(plan)
    verified = verify(plan, _folder(plan), signers=arguments.signers, report=report)
    print("\n".join(map(terminal, verified.lines)))
    return 0 if verified.ok else 1
