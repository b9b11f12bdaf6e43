# Pre-trainings, the robust initial weights that a scale trains itself, and runs (data set x backbone x pre-training x
# method x seed): a job trains each, and a job attacks each part of a run's images.


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


use rule step as finetune with:
    input:
        inputs_of("train", RUN),
    output:
        checkpoint=f"{RESULTS}/{RUN}/checkpoint.safetensors",
        history=f"{RESULTS}/{RUN}/history.csv",
        record=f"{RESULTS}/{RUN}/checkpoint.record.json",
    pathvars:
        log=f"{SCALE}/{RUN}/train",
    threads: THREADS * PROCESSES // NODES
    resources:
        **training_needs(),
    params:
        launcher=LAUNCHER,
        step=identity("train", RUN),
    message:
        "fine-tuning {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed} ({wildcards.paper}/{wildcards.experiment})"


use rule step as attack with:
    input:
        inputs_of("attack", PART),
    output:
        ledger=f"{RESULTS}/{RUN}/{{evaluation}}.{{part}}.ledger.parquet",
        record=f"{RESULTS}/{RUN}/{{evaluation}}.{{part}}.record.json",
    pathvars:
        log=f"{SCALE}/{PART}",
    threads: THREADS
    resources:
        **needs("attack"),
        gpu=GPUS,
    params:
        step=identity("attack", PART),
    message:
        "attacking {wildcards.method}, seed {wildcards.seed}: {wildcards.evaluation} ({wildcards.paper}/{wildcards.experiment})"
