# The one step rule: `use rule step as ...` adds what a step reads and writes, its log, its needs and its identity.

# A job on a machine without the disk of the one that planned it finds no job file, so it writes what is missing.
if workflow.remote_exec:
    write_missing_jobs(JOBS, SCALE, complete=partial(with_origins, PLAN))


onstart:
    write_jobs(JOBS, SCALE, complete=partial(with_origins, PLAN))
    schedule_on_events()


rule step:
    log:
        "logs/<log>.log",
    benchmark:
        "logs/<log>.benchmark.tsv"
    pathvars:
        log="step",
    retries: RETRIES
    container:
        IMAGE
    params:
        launcher="",
        jobs=JOB_FILES,
    shell:
        "{params.launcher}python -m robustft job {params.jobs}/{params.step[digest]}.json --log {log}"
