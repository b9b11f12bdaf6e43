# Report: numbers from ledgers, then tables, figures and verdicts. Seconds of work without torch: local rules.


localrules:
    numbers,
    verdicts,
    table,
    deviations,
    figure,
    manifest,


use rule step as numbers with:
    input:
        inputs_of("numbers", "{paper}"),
    output:
        numbers=f"{RESULTS}/{{paper}}/numbers.json",
        metrics=f"{RESULTS}/{{paper}}/metrics.json",
        record=f"{RESULTS}/{{paper}}/numbers.record.json",
    pathvars:
        log=f"{SCALE}/{{paper}}/numbers",
    # Before any bundle: a paper's tables are there as soon as it is measured.
    priority: 1000000
    retries: 0
    container:
        REPORT_IMAGE
    resources:
        **needs("report"),
    params:
        step=identity("numbers", "{paper}"),
    message:
        "counting the ledgers of {wildcards.paper}"


use rule numbers as verdicts with:
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
    pathvars:
        log=f"{SCALE}/{{paper}}/verdicts",
    params:
        step=identity("verdicts", "{paper}"),
    message:
        "judging the claims of {wildcards.paper}"


use rule numbers as table with:
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
    pathvars:
        log=f"{SCALE}/{{paper}}/tables/{{name}}",
    params:
        step=identity("table", "{paper}/{name}"),
        caption=caption("table"),
    message:
        "writing the table {wildcards.paper}/{wildcards.name}"


use rule numbers as deviations with:
    input:
        inputs_of("deviations", "{paper}"),
    output:
        md=f"{RESULTS}/{{paper}}/deviations.md",
        html=report(
            f"{RESULTS}/{{paper}}/deviations.html",
            category="{paper}",
            subcategory="deviations",
            labels={"deviations": "all of them"},
        ),
        record=f"{RESULTS}/{{paper}}/deviations.record.json",
    pathvars:
        log=f"{SCALE}/{{paper}}/deviations",
    params:
        step=identity("deviations", "{paper}"),
    message:
        "listing the deviations from {wildcards.paper}"


use rule numbers as figure with:
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
    pathvars:
        log=f"{SCALE}/{{paper}}/figures/{{name}}",
    params:
        step=identity("figure", "{paper}/{name}"),
        caption=caption("figure"),
    message:
        "drawing the figure {wildcards.paper}/{wildcards.name}"


use rule numbers as manifest with:
    input:
        inputs_of("manifest", "{paper}"),
    output:
        manifest=f"{RESULTS}/{{paper}}/manifest.json",
        record=f"{RESULTS}/{{paper}}/manifest.record.json",
    pathvars:
        log=f"{SCALE}/{{paper}}/manifest",
    params:
        step=identity("manifest", "{paper}"),
    message:
        "writing the manifest of {wildcards.paper}"
