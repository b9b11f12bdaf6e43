# Pre-training: the robust initial weights that a scale trains itself.


use rule step as pretrain with:
    input:
        inputs_of("train", "pretraining/{name}"),
    output:
        checkpoint=f"{RESULTS}/pretraining/{{name}}/checkpoint.safetensors",
        history=f"{RESULTS}/pretraining/{{name}}/history.csv",
        record=f"{RESULTS}/pretraining/{{name}}/checkpoint.record.json",
    pathvars:
        log=f"{SCALE}/pretraining/{{name}}",
    priority: 1000
    threads: THREADS * PROCESSES // NODES
    resources:
        **training_needs(),
    params:
        launcher=LAUNCHER,
        step=identity("train", "pretraining/{name}"),
    message:
        "pre-training {wildcards.name}"
