# Bundles: where a run takes less time than starting up, one job trains and attacks all seeds of some methods. Each step
# keeps its own record; a scale asks for this with `bundle: N`, in the place of the rules of finetune and evaluate.
# The most urgent go first, so that none is left to run alone at the end.

from robustft.cost import urgency

URGENCY = urgency(PLAN)

for bundle in PLAN.bundles():

    rule:
        name:
            f"bundle_{bundle.name}"
        input:
            inputs_of_bundle(bundle),
        output:
            outputs_of_bundle(bundle),
        log:
            f"{LOGS}/bundles/{bundle.name}.log",
        benchmark:
            f"{LOGS}/bundles/{bundle.name}.benchmark.tsv"
        priority: URGENCY[bundle.name]
        retries: RETRIES
        container:
            IMAGE
        threads: THREADS * PROCESSES
        resources:
            mem_mb=need("train", "mem_mb"),
            runtime=need("train", "runtime_min"),
            gpu=GPUS * PROCESSES,
        params:
            name=bundle.name,
            scale=SCALE,
            paper=bundle.paper,
            digest=bundle.digest,
            code=bundle.code,
        message:
            f"training and attacking {bundle.name}"
        shell:
            "python -m robustft bundle {params.name} --scale {params.scale} --papers {params.paper} --expect {params.digest} --log {log}"
