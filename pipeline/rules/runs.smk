# Runs (data set x backbone x pre-training x method x seed): a job trains each, and a job attacks each part of its images.


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
