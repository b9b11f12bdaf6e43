# Data: each source is checked and decoded to one file with fixed splits, once for all scales.


rule data:
    input:
        inputs_of("data", "{source}"),
    output:
        data="results/data/{source}.safetensors",
        record="results/data/{source}.record.json",
    log:
        "logs/data/{source}.log",
    benchmark:
        "logs/data/{source}.benchmark.tsv"
    priority: 1000
    retries: RETRIES
    container:
        IMAGE
    threads: PLAN.config.scale["resources"]["data"].get("threads", 1)
    resources:
        mem_mb=need("data", "mem_mb"),
        runtime=need("data", "runtime_min"),
    params:
        scale=SCALE,
        digest=digest_of_step("data", "{source}"),
        code=code_of_step("data", "{source}"),
    message:
        "decoding {wildcards.source}"
    shell:
        "python -m robustft data {wildcards.source} --scale {params.scale} --expect {params.digest} --log {log}"
