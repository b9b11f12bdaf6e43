# Pre-training: the robust initial weights that a scale trains itself.


rule pretrain:
    input:
        inputs_of("train", "pretraining/{name}"),
    output:
        checkpoint=f"{RESULTS}/pretraining/{{name}}/checkpoint.safetensors",
        history=f"{RESULTS}/pretraining/{{name}}/history.csv",
        record=f"{RESULTS}/pretraining/{{name}}/checkpoint.record.json",
    log:
        f"{LOGS}/pretraining/{{name}}.log",
    benchmark:
        f"{LOGS}/pretraining/{{name}}.benchmark.tsv"
    priority: 1000
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
        digest=digest_of_step("train", "pretraining/{name}"),
        code=code_of_step("train", "pretraining/{name}"),
    message:
        "pre-training {wildcards.name}"
    shell:
        START
        + "python -m robustft train pretraining/{wildcards.name} --scale {params.scale} --expect {params.digest} --log {log}"
