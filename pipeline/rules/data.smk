# Files from elsewhere, decoded data and published weights, each once for all scales.


# A local rule: the machine that Snakemake runs on has the network, cluster nodes need not. No `code` among its parameters:
# the published hash decides the bytes, and an edit of an error text must not fetch 138 GB again.
use rule step as download with:
    output:
        file="results/downloads/{file}.download",
        record="results/downloads/{file}.record.json",
    pathvars:
        log="downloads/{file}",
    priority: 1000
    # The step itself asks again; this is for a process that dies. What was received stays.
    retries: 1
    localrule: True
    resources:
        downloads=1,
    params:
        step=identity("download", "{file}", code=False),
    message:
        "fetching {wildcards.file}"


use rule step as data with:
    input:
        inputs_of("data", "{source}"),
    output:
        data="results/data/{source}.safetensors",
        record="results/data/{source}.record.json",
    pathvars:
        log="data/{source}",
    priority: 1000
    threads: PLAN.config.scale["resources"]["data"].get("threads", 1)
    resources:
        **needs("data"),
    params:
        step=identity("data", "{source}"),
    message:
        "decoding {wildcards.source}"


use rule step as weights with:
    input:
        inputs_of("weights", "{weights}"),
    output:
        checkpoint="results/weights/{weights}.safetensors",
        record="results/weights/{weights}.record.json",
    pathvars:
        log="weights/{weights}",
    priority: 1000
    resources:
        **needs("data"),
    params:
        step=identity("weights", "{weights}"),
    message:
        "converting the weights {wildcards.weights}"
