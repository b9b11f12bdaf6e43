# Downloads: each file from elsewhere once, checked against its published hash, for all data sets, weights and scales.
# A local rule: the machine that Snakemake runs on has the network, cluster nodes need not. No `code` among its parameters:
# the published hash decides the bytes, and an edit of an error text must not fetch 138 GB again.


rule download:
    output:
        file="results/downloads/{file}.download",
        record="results/downloads/{file}.record.json",
    log:
        "logs/downloads/{file}.log",
    benchmark:
        "logs/downloads/{file}.benchmark.tsv"
    priority: 1000
    # The step itself asks again; this is for a process that dies. What was received is kept.
    retries: 1
    localrule: True
    container:
        IMAGE
    resources:
        downloads=1,
    params:
        scale=SCALE,
        digest=digest_of_step("download", "{file}"),
    message:
        "fetching {wildcards.file}"
    shell:
        "python -m robustft download {wildcards.file} --scale {params.scale} --expect {params.digest} --log {log}"
