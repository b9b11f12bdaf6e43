# Report: numbers from ledgers, then tables, figures and verdicts. Seconds of work without torch: local rules.


localrules:
    numbers,
    verdicts,
    table,
    figure,
    seal,


rule numbers:
    input:
        inputs_of("numbers", "{paper}"),
    output:
        numbers=f"{RESULTS}/{{paper}}/numbers.json",
        metrics=f"{RESULTS}/{{paper}}/metrics.json",
        record=f"{RESULTS}/{{paper}}/numbers.record.json",
    log:
        f"{LOGS}/{{paper}}/numbers.log",
    benchmark:
        f"{LOGS}/{{paper}}/numbers.benchmark.tsv"
    container:
        REPORT_IMAGE
    resources:
        mem_mb=need("report", "mem_mb"),
        runtime=need("report", "runtime_min"),
    params:
        scale=SCALE,
        digest=digest_of_step("numbers", "{paper}"),
        code=code_of_step("numbers", "{paper}"),
    message:
        "counting the ledgers of {wildcards.paper}"
    shell:
        "python -m robustft numbers {wildcards.paper} --scale {params.scale} --expect {params.digest} --log {log}"


rule verdicts:
    input:
        inputs_of("verdicts", "{paper}"),
    output:
        json=f"{RESULTS}/{{paper}}/verdicts.json",
        md=f"{RESULTS}/{{paper}}/verdicts.md",
        html=report(
            f"{RESULTS}/{{paper}}/verdicts.html",
            category="{paper}",
            subcategory="verdicts",
            caption="captions/verdicts.rst",
            labels={"verdicts": "all claims"},
        ),
        record=f"{RESULTS}/{{paper}}/verdicts.record.json",
    log:
        f"{LOGS}/{{paper}}/verdicts.log",
    benchmark:
        f"{LOGS}/{{paper}}/verdicts.benchmark.tsv"
    container:
        REPORT_IMAGE
    resources:
        mem_mb=need("report", "mem_mb"),
        runtime=need("report", "runtime_min"),
    params:
        scale=SCALE,
        digest=digest_of_step("verdicts", "{paper}"),
        code=code_of_step("verdicts", "{paper}"),
    message:
        "judging the claims of {wildcards.paper}"
    shell:
        "python -m robustft verdicts {wildcards.paper} --scale {params.scale} --expect {params.digest} --log {log}"


rule table:
    input:
        inputs_of("table", "{paper}/{name}"),
    output:
        md=f"{RESULTS}/{{paper}}/tables/{{name}}.md",
        csv=f"{RESULTS}/{{paper}}/tables/{{name}}.csv",
        tex=f"{RESULTS}/{{paper}}/tables/{{name}}.tex",
        html=report(
            f"{RESULTS}/{{paper}}/tables/{{name}}.html",
            category="{paper}",
            subcategory="tables",
            caption="captions/table.rst",
            labels={"table": "{name}"},
        ),
        record=f"{RESULTS}/{{paper}}/tables/{{name}}.record.json",
    log:
        f"{LOGS}/{{paper}}/tables/{{name}}.log",
    benchmark:
        f"{LOGS}/{{paper}}/tables/{{name}}.benchmark.tsv"
    container:
        REPORT_IMAGE
    resources:
        mem_mb=need("report", "mem_mb"),
        runtime=need("report", "runtime_min"),
    params:
        scale=SCALE,
        digest=digest_of_step("table", "{paper}/{name}"),
        code=code_of_step("table", "{paper}/{name}"),
        about=lambda wildcards: PLAN.step(
            "table", f"{wildcards.paper}/{wildcards.name}"
        ).spec["table"],
    message:
        "writing the table {wildcards.paper}/{wildcards.name}"
    shell:
        "python -m robustft table {wildcards.paper}/{wildcards.name} --scale {params.scale} --expect {params.digest} --log {log}"


rule figure:
    input:
        inputs_of("figure", "{paper}/{name}"),
    output:
        svg=report(
            f"{RESULTS}/{{paper}}/figures/{{name}}.svg",
            category="{paper}",
            subcategory="figures",
            caption="captions/figure.rst",
            labels={"figure": "{name}"},
        ),
        pdf=f"{RESULTS}/{{paper}}/figures/{{name}}.pdf",
        caption=f"{RESULTS}/{{paper}}/figures/{{name}}.caption.md",
        record=f"{RESULTS}/{{paper}}/figures/{{name}}.record.json",
    log:
        f"{LOGS}/{{paper}}/figures/{{name}}.log",
    benchmark:
        f"{LOGS}/{{paper}}/figures/{{name}}.benchmark.tsv"
    container:
        REPORT_IMAGE
    resources:
        mem_mb=need("report", "mem_mb"),
        runtime=need("report", "runtime_min"),
    params:
        scale=SCALE,
        digest=digest_of_step("figure", "{paper}/{name}"),
        code=code_of_step("figure", "{paper}/{name}"),
        about=lambda wildcards: PLAN.step(
            "figure", f"{wildcards.paper}/{wildcards.name}"
        ).spec["figure"],
    message:
        "drawing the figure {wildcards.paper}/{wildcards.name}"
    shell:
        "python -m robustft figure {wildcards.paper}/{wildcards.name} --scale {params.scale} --expect {params.digest} --log {log}"


rule seal:
    input:
        inputs_of("seal", SCALE),
    output:
        seal=f"{RESULTS}/seal.json",
        record=f"{RESULTS}/seal.record.json",
    log:
        f"{LOGS}/seal.log",
    benchmark:
        f"{LOGS}/seal.benchmark.tsv"
    container:
        REPORT_IMAGE
    resources:
        mem_mb=need("report", "mem_mb"),
        runtime=need("report", "runtime_min"),
    params:
        scale=SCALE,
        papers=",".join(PLAN.config.papers),
        digest=digest_of_step("seal", SCALE),
        code=code_of_step("seal", SCALE),
    message:
        "sealing the records of scale {params.scale}"
    shell:
        "python -m robustft seal {params.scale} --scale {params.scale} --papers {params.papers} --expect {params.digest} --log {log}"
