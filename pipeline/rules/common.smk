# What the rules ask the plan for, a step at a time - its inputs, its identity, what it needs of a machine.

import os
import shlex
import sys

from snakemake.settings.types import DeploymentMethod

from robustft.provenance.container import missing_images

SCALE = PLAN.scale
RESULTS = f"results/{SCALE}"
LOGS = f"logs/{SCALE}"
IMAGE = PLAN.config.images["train"]["image"]
REPORT_IMAGE = PLAN.config.images["report"]["image"]

IN_CONTAINER = (
    DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
)

# Said once, here: Snakemake would start the jobs, and each would fail with Apptainer's own words.
if (
    IN_CONTAINER
    and not workflow.dryrun
    and (lost := missing_images(PLAN.config.images))
):
    raise WorkflowError(str(lost))

# Steps run the package of this Snakefile, also where the working directory holds another one (a run from a frozen
# checkout). Inside a container `python` is the image's own; outside it is the one that runs Snakemake, whatever the
# caller's PATH says.
# Where files may lie already and whether the network may be used differ by machine, so they are no part of config/:
# `--config mirror=FOLDER offline=True`, or the variables themselves.
WHERE_FROM = {"ROBUSTFT_MIRROR": str(config["mirror"])} if config.get("mirror") else {}
if config.get("offline"):
    WHERE_FROM["ROBUSTFT_OFFLINE"] = "1"
os.environ |= WHERE_FROM  # for what starts a container, which the profile tells to bind the mirror
shell.prefix(
    f"export PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(PACKAGES)}; "
    + "".join(
        f"export {name}={shlex.quote(value)}; " for name, value in WHERE_FROM.items()
    )
    + (
        ""
        if IN_CONTAINER
        else f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; "
    )
)


wildcard_constraints:
    file="[a-z0-9_]+",
    source="[a-z0-9_]+",
    weights="[a-z0-9_]+",
    name="[a-z0-9_]+",
    paper="[a-z0-9_]+",
    experiment="[a-z0-9_]+",
    dataset="[a-z0-9_]+",
    method="[a-z0-9_]+",
    seed="[0-9]+",
    evaluation="[a-z0-9_-]+",
    part="[0-9]+of[0-9]+",


def in_command(pattern):
    """Return a pattern of wildcards as a shell command names them."""
    return pattern.replace("{", "{wildcards.")


def of_step(kind, id_pattern):
    """Return the step that a rule's wildcards name, as a function of the wildcards."""
    return lambda wildcards: PLAN.step(kind, id_pattern.format(**wildcards))


def inputs_of_step(step):
    """Return a step's inputs: files, and the records that vouch for them."""
    return [*step.inputs.values(), *dict.fromkeys(step.upstream.values())]


def code_of_step(kind, id_pattern):
    """Return the hash of the source files that a step can import: an edit of one of them re-runs the step.

    Snakemake does not see an edit in an imported module. A hash says so by content, whatever a checkout does to times,
    and weighs less than thirty more inputs for each job.
    """
    return lambda wildcards: of_step(kind, id_pattern)(wildcards).code


def inputs_of(kind, id_pattern):
    """Return the inputs of the step that a rule's wildcards name, as a function of the wildcards."""
    return lambda wildcards: inputs_of_step(of_step(kind, id_pattern)(wildcards))


def outputs_of_bundle(bundle):
    """Return all that a bundle's steps write, records included."""
    return [
        path for step in bundle.steps for path in (*step.outputs.values(), step.record)
    ]


def inputs_of_bundle(bundle):
    """Return all that a bundle's steps read and do not make themselves."""
    made = set(outputs_of_bundle(bundle))
    read = [path for step in bundle.steps for path in inputs_of_step(step)]
    return [path for path in dict.fromkeys(read) if path not in made]


def digest_of_step(kind, id_pattern):
    """Return the step's digest: an edit of the configuration changes it for the steps that it touches, and re-runs those."""
    return lambda wildcards: of_step(kind, id_pattern)(wildcards).digest


def outputs_of(*kinds):
    """Return every output of the plan's steps of some kinds, records included."""
    steps = [step for kind in kinds for step in PLAN.of_kind(kind)]
    return [path for step in steps for path in (*step.outputs.values(), step.record)]


def need(stage, what):
    """Return what a stage needs of a machine, as the scale says."""
    return PLAN.config.scale["resources"][stage][what]


# On a cluster a job is a Snakemake within a Snakemake, and each of them would try again: 27 times where 3 are meant.
RETRIES = 0 if workflow.remote_exec else 2
GPUS = 1 if PLAN.config.scale["device"] == "cuda" else 0
THREADS = PLAN.config.scale["threads"]
PROCESSES = PLAN.config.scale["processes"]
RUN = "{paper}/{experiment}/{dataset}/{method}/seed{seed}"
PART = f"{RUN}/{{evaluation}}.{{part}}"
