# Weights: published pre-trained models, checked and converted to checkpoints, once for all scales.


rule weights:
    input:
        inputs_of("weights", "{weights}"),
    output:
        checkpoint="results/weights/{weights}.safetensors",
        record="results/weights/{weights}.record.json",
    log:
        "logs/weights/{weights}.log",
    benchmark:
        "logs/weights/{weights}.benchmark.tsv"
    priority: 1000
    retries: RETRIES
    container:
        IMAGE
    resources:
        mem_mb=need("data", "mem_mb"),
        runtime=need("data", "runtime_min"),
    params:
        scale=SCALE,
        digest=digest_of_step("weights", "{weights}"),
        code=code_of_step("weights", "{weights}"),
    message:
        "converting the weights {wildcards.weights}"
    shell:
        "python -m robustft weights {wildcards.weights} --scale {params.scale} --expect {params.digest} --log {log}"
