# Bundles: where a run takes less time than starting up, one job trains and attacks all seeds of some methods, and one
# trains what a paper starts from. Each step keeps its own record; a scale asks for this with `bundle: N`, in the place
# of the rules of runs.smk. The most urgent go first: the papers in order of cost, and no bundle alone at the end.

from robustft.cost import urgency

URGENCY = urgency(PLAN)

# `use rule` takes no name from a variable, so this rule repeats what it shares with `step`.
for bundle in BUNDLES:

    rule:
        name:
            f"bundle_{bundle.name}"
        input:
            inputs_of_steps(bundle.steps),
        output:
            files_of(bundle.steps),
        log:
            f"logs/{SCALE}/bundles/{bundle.name}.log",
        benchmark:
            f"logs/{SCALE}/bundles/{bundle.name}.benchmark.tsv"
        priority: URGENCY[bundle.name]
        retries: RETRIES
        container:
            IMAGE
        threads: THREADS * PROCESSES
        resources:
            **training_needs(),
        params:
            jobs=JOB_FILES,
            step={"digest": bundle.digest, "code": code_of(bundle, BY_HAND)},
        message:
            bundle.message
        shell:
            "python -m robustft job {params.jobs}/{params.step[digest]}.json --log {log}"
