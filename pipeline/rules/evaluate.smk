# Attack evaluation: one job for each run, evaluation and part of the images; per-image outcomes go into a ledger.


rule attack:
    input:
        inputs_of("attack", PART),
    output:
        ledger=f"{RESULTS}/{RUN}/{{evaluation}}.{{part}}.ledger.parquet",
        record=f"{RESULTS}/{RUN}/{{evaluation}}.{{part}}.record.json",
    log:
        f"{LOGS}/{RUN}/{{evaluation}}.{{part}}.log",
    benchmark:
        f"{LOGS}/{RUN}/{{evaluation}}.{{part}}.benchmark.tsv"
    retries: RETRIES
    container:
        IMAGE
    threads: THREADS
    resources:
        mem_mb=need("attack", "mem_mb"),
        runtime=need("attack", "runtime_min"),
        gpu=GPUS,
    params:
        scale=SCALE,
        digest=digest_of_step("attack", PART),
        code=code_of_step("attack", PART),
    message:
        "attacking {wildcards.method}, seed {wildcards.seed}: {wildcards.evaluation} ({wildcards.paper}/{wildcards.experiment})"
    shell:
        "python -m robustft attack "
        + in_command(PART)
        + " --scale {params.scale} --expect {params.digest} --log {log}"
