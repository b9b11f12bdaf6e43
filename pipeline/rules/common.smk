# What the rules ask the plan for, a step at a time - its inputs, its identity, its job file, what it needs of a machine.

import os
import shlex
import sys
from functools import partial

from snakemake.settings.types import DeploymentMethod

from robustft.provenance.container import missing_images
from robustft.provenance.job import job_path, write_jobs, write_missing_jobs
from robustft.provenance.origins import with_origins

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
SOURCES = {"ROBUSTFT_MIRROR": str(config["mirror"])} if config.get("mirror") else {}
if config.get("offline"):
    SOURCES["ROBUSTFT_OFFLINE"] = "1"
# The process that starts a container reads them too: the profile binds the mirror.
os.environ |= SOURCES
shell.prefix(
    f"export PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(PACKAGES)}; "
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
RUN = "{paper}/{experiment}/{dataset}/{method}/seed{seed}"
PART = f"{RUN}/{{evaluation}}.{{part}}"


def files_of(steps):
    """Return all that steps write, records included."""
    return [path for step in steps for path in (*step.outputs.values(), step.record)]


# A bundle is one job, every other step is one of its own.
BUNDLES = PLAN.bundles() if PLAN.config.scale["bundle"] else []
BUNDLED = {step.key for bundle in BUNDLES for step in bundle.steps}
JOBS = [step for step in PLAN.steps.values() if step.key not in BUNDLED] + BUNDLES
JOB_OF = {path: job for job in JOBS for path in files_of(getattr(job, "steps", [job]))}


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


def identity(kind, id_pattern):
    """Return the parameters that re-run that step when they change.

    `digest` is the hash of its specification: an edit of the configuration changes it for the steps that it touches.
    `code` is the hash of the source files that it can import. Snakemake does not see an edit in an imported module. A
    hash compares content, whatever a checkout does to times, and weighs less than thirty more inputs for each job.
    """
    step = step_of(kind, id_pattern)
    return {
        "digest": lambda wildcards: step(wildcards).digest,
        "code": lambda wildcards: step(wildcards).code,
    }


def job_file(wildcards, output):
    """Return the job file of the step or bundle that writes a rule's output.

    Snakemake does not compare a parameter that is a function of `output`, so the file's place re-runs nothing.
    """
    return job_path(JOB_OF[output[0]], SCALE)


def launcher(wildcards, resources):
    """Return what starts a job's command: srun, once on each node, for a training on several nodes; else nothing."""
    if resources.get("nodes", 1) == 1:
        return ""
    threads = THREADS * PROCESSES // NODES
    return f"srun --nodes {NODES} --ntasks {NODES} --cpus-per-task {threads} --kill-on-bad-exit=1 "


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
