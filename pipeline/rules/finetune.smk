# Fine-tuning: one job for each run (data set x backbone x pre-training x method x seed).


rule finetune:
    input:
        inputs_of("train", RUN),
    output:
        checkpoint=f"{RESULTS}/{RUN}/checkpoint.safetensors",
        history=f"{RESULTS}/{RUN}/history.csv",
        record=f"{RESULTS}/{RUN}/checkpoint.record.json",
    log:
        f"{LOGS}/{RUN}/train.log",
    benchmark:
        f"{LOGS}/{RUN}/train.benchmark.tsv"
    retries: RETRIES
    container:
        IMAGE
    threads: THREADS * PROCESSES // NODES
    resources:
        **SPREAD,
        mem_mb=need("train", "mem_mb"),
        runtime=need("train", "runtime_min"),
        gpu=GPUS * PROCESSES,
    params:
        scale=SCALE,
        digest=digest_of_step("train", RUN),
        code=code_of_step("train", RUN),
    message:
        "fine-tuning {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed} ({wildcards.paper}/{wildcards.experiment})"
    shell:
        START
        + "python -m robustft train "
        + in_command(RUN)
        + " --scale {params.scale} --expect {params.digest} --log {log}"
