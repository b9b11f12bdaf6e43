# A training on several nodes: how it is started, and what it asks Slurm for.

from snakemake.exceptions import WorkflowError

NODES = PLAN.config.scale.get("nodes", 1)
if NODES > 1 and IN_CONTAINER:
    raise WorkflowError(
        "a training on several nodes is started by srun, which an image has not: run this scale without containers"
    )

# A training on several nodes is one command for each, which starts that node's processes.
START, SPREAD = "", {}
if NODES > 1:
    START = f"srun --nodes {NODES} --ntasks {NODES} --cpus-per-task {THREADS * PROCESSES // NODES} --kill-on-bad-exit=1 "
    SPREAD = {"nodes": NODES, "tasks": NODES, "tasks_per_gpu": 0, "mpi": "srun"}
