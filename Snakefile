"""robustft: load and validate the configuration, include the rules, name the targets."""

import atexit
import gc
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

# The planner is the package that belongs to this file, also where nothing is installed (in a container, say): in a
# checkout it lies beside the rules, in a wheel around this folder.
HOME = Path(workflow.basedir)
PACKAGES = str(
    HOME / "pipeline" if (HOME / "pipeline" / "robustft").is_dir() else HOME.parents[1]
)
if PACKAGES not in sys.path:
    sys.path.insert(0, PACKAGES)

from robustft.config.load import Config
from robustft.config.project import project_defaults
from robustft.config.workflow import workflow_settings
from robustft.plan import Plan

# A DAG of thousands of jobs is millions of objects that live to the end. Python's collector would look through them
# again and again, and once more at the end: a fourth of the time of a dry run. The peak of the memory is the same.
gc.set_threshold(100_000, 20, 100)
atexit.register(gc.freeze)

CONFIG_FILE = str(HOME / "config" / "config.yaml")


configfile: CONFIG_FILE


report: "pipeline/rules/captions/workflow.rst"


# A project of one's own has defaults over those of the file; the command line comes before both.
config.update(project_defaults(given=workflow.config_settings.overwrite_config))
SETTINGS = workflow_settings(config)
PLAN = Plan(Config(scale=SETTINGS.scale, papers=SETTINGS.papers, seeds=SETTINGS.seeds))


include: "pipeline/rules/common.smk"
include: "pipeline/rules/step.smk"
include: "pipeline/rules/data.smk"


if BUNDLES:

    include: "pipeline/rules/bundle.smk"

else:

    include: "pipeline/rules/runs.smk"


include: "pipeline/rules/report.smk"


localrules:
    all,
    figures,
    downloads,


rule all:
    default_target: True
    input:
        # Files between, too: Snakemake does not make a deleted one again if nothing that is asked for is older than it.
        outputs_of(*dict.fromkeys(step.kind for step in PLAN.steps.values())),


rule figures:
    input:
        outputs_of("figure"),


rule downloads:
    input:
        outputs_of("download"),
