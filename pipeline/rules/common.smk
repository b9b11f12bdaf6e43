# What the rules ask the plan for, a step at a time - its inputs, its identity, what it needs of a machine.

import os
import shlex
import sys
from functools import partial

from snakemake.settings.types import DeploymentMethod

from robustft import escape
from robustft.plan.shown import planned_cells
from robustft.provenance.by_hand import code_of, foreign
from robustft.provenance.container import missing_images
from robustft.provenance.job import job_folder, write_jobs, write_missing_jobs
from robustft.provenance.origins import with_origins
from robustft.report.basis import basis

SCALE = PLAN.scale
RESULTS = f"results/{SCALE}"
IMAGE = PLAN.config.images["train"]["image"]
REPORT_IMAGE = PLAN.config.images["report"]["image"]

IN_CONTAINER = (
    DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
)

# Checked once, here: Snakemake would start the jobs, and each would fail with Apptainer's own message.
if (
    IN_CONTAINER
    and not workflow.dryrun
    and (error := missing_images(PLAN.config.images))
):
    raise WorkflowError(str(error))

# Steps run the package of this Snakefile, also where the working directory holds another one (a run from a frozen
# checkout). Inside a container `python` is the image's own; outside it is the one that runs Snakemake, whatever the
# caller's PATH holds.
# A mirror folder and the use of the network differ by machine, so they are no part of config/:
# `--config mirror=FOLDER offline=True`, or the variables themselves.
SOURCES = {"ROBUSTFT_MIRROR": SETTINGS.mirror} if SETTINGS.mirror else {}
if SETTINGS.offline:
    SOURCES["ROBUSTFT_OFFLINE"] = "1"
# The process that starts a container reads them too: the profile binds the mirror.
os.environ |= SOURCES
shell.prefix(
    f"export PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 PYTHONPATH={shlex.quote(PACKAGES)}; "
    + "".join(
        f"export {name}={shlex.quote(value)}; " for name, value in SOURCES.items()
    )
    + (
        ""
        if IN_CONTAINER
        else f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; "
    )
)

# On a cluster a job is a Snakemake within a Snakemake, and each of them would try again: 27 times where 3 are meant.
RETRIES = 0 if workflow.remote_exec else 2
GPUS = 1 if PLAN.config.scale["device"] == "cuda" else 0
THREADS = PLAN.config.scale["threads"]
PROCESSES = PLAN.config.scale["processes"]
NODES = PLAN.config.scale.get("nodes", 1)
BY_HAND = foreign(PLAN)
RUN = "{paper}/{experiment}/{dataset}/{method}/seed{seed}"
PART = f"{RUN}/{{evaluation}}.{{part}}"


def files_of(steps):
    """Return all that steps write, records included."""
    return [path for step in steps for path in (*step.outputs.values(), step.record)]


# A bundle is one job, every other step is one of its own.
BUNDLES = PLAN.bundles() if PLAN.config.scale["bundle"] else []
BUNDLED = {step.key for bundle in BUNDLES for step in bundle.steps}
JOBS = [step for step in PLAN.steps.values() if step.key not in BUNDLED] + BUNDLES
JOB_FILES = job_folder(SCALE)


def outputs_of(*kinds):
    """Return all that the plan's steps of some kinds write."""
    return files_of(step for kind in kinds for step in PLAN.of_kind(kind))


def inputs_of_steps(steps):
    """Return all that steps read and do not write themselves: files, and the records that vouch for them."""
    written = set(files_of(steps))
    read = [
        path
        for step in steps
        for path in (*step.inputs.values(), *step.upstream.values())
    ]
    return [path for path in dict.fromkeys(read) if path not in written]


def step_of(kind, id_pattern):
    """Return the step that a rule's wildcards name, as a function of the wildcards."""
    return lambda wildcards: PLAN.step(kind, id_pattern.format(**wildcards))


def inputs_of(kind, id_pattern):
    """Return the inputs of that step, as a function of the wildcards."""
    step = step_of(kind, id_pattern)
    return lambda wildcards: inputs_of_steps([step(wildcards)])


def identity(kind, id_pattern, *, code=True):
    """Return the parameter that re-runs that step when it changes. Its digest also names the step's job file.

    `digest` is the hash of its specification: an edit of the configuration changes it for the steps that it touches.
    `code` is the hash of the source files that it can import. Snakemake does not see an edit in an imported module. A
    hash compares content, whatever a checkout does to times, and weighs less than thirty more inputs for each job. A run
    by hand of something else is in `code` too.
    """
    step = step_of(kind, id_pattern)
    if not code:
        return lambda wildcards: {"digest": step(wildcards).digest}
    return lambda wildcards: {
        "digest": step(wildcards).digest,
        "code": code_of(step(wildcards), BY_HAND),
    }


def caption(kind):
    """Return the caption of a table or figure for Snakemake's report, as a function of the wildcards.

    It says what the numbers rest on, from the plan: the report is of files that are not made yet.
    """

    def text(wildcards):
        spec = PLAN.step(kind, f"{wildcards.paper}/{wildcards.name}").spec
        about = spec[kind]
        evaluations = PLAN.paper_evaluations(wildcards.paper, about["experiment"])
        methods = spec["rows"] if kind == "table" else about["methods"]
        cells = planned_cells(spec["shown"], list(evaluations), methods)
        sentences = [f"{about['title']}.", about["caption"], *basis(spec, about, cells)]
        return escape.rst(" ".join(sentences))

    return text


def srun(wildcards, resources):
    """Return what starts a training on several nodes: srun, once on each.

    Snakemake does not compare a parameter that is a function of `resources`, so it re-runs nothing.
    """
    threads = THREADS * PROCESSES // NODES
    return f"srun --nodes {NODES} --ntasks {NODES} --cpus-per-task {threads} --kill-on-bad-exit=1 "


LAUNCHER = srun if NODES > 1 else ""


def schedule_on_events():
    """Let Snakemake look for jobs to start when a job ends, and at no other time.

    With its default limit of 100 starts in a second, it looks again a second after each look. Each job that ends begins
    one more such chain, none of them ends, and each look reads the size of every input.
    """
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def needs(stage):
    """Return the memory and time that a stage needs, as the scale says."""
    resources = PLAN.config.scale["resources"][stage]
    return {"mem_mb": resources["mem_mb"], "runtime": resources["runtime_min"]}


def training_needs():
    """Return what a training needs: a GPU for each process, and of Slurm its nodes where there are several."""
    nodes = {"nodes": NODES, "tasks": NODES, "tasks_per_gpu": 0, "mpi": "srun"}
    return {
        **needs("train"),
        "gpu": GPUS * PROCESSES,
        **(nodes if NODES > 1 else {}),
    }


if NODES > 1 and IN_CONTAINER:
    raise WorkflowError(
        "a training on several nodes is started by srun, which an image has not: run this scale without containers"
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
