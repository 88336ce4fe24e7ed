# Builds the thesis's tables and figures: `snakemake results/table2_4.csv` makes the data, runs the experiments and writes
# the CSV, `snakemake results/fig2_5.svg` draws the figure with a PNG and its numbers as CSV beside it.
#
#   snakemake                                       every table and figure
#   snakemake --config preset=smoke                 other sizes: a file of workflows/config
#   snakemake --config data_root=DIR device=cuda    real data; other keys: workflows/schemas/config.schema.json
#   snakemake --workflow-profile profiles/slurm     on a cluster
from snakemake.utils import min_version

min_version("9.19")


include: "workflows/rules/common.smk"
include: "workflows/rules/data.smk"
include: "workflows/rules/runs.smk"
include: "workflows/rules/tables.smk"
include: "workflows/rules/figures.smk"


rule all:
    default_target: True
    input:
        expand(f"{RESULTS}/{{table}}.csv", table=TABLES),
        expand(f"{RESULTS}/{{figure}}.svg", figure=FIGURES),
