# Builds the thesis's tables and figures: `snakemake results/table2_4.csv` makes the data, runs the experiments and writes
# the CSV, `snakemake results/fig2_5.svg` draws the figure with a PNG and its numbers as CSV beside it.
#
#   snakemake                                       every table and figure
#   snakemake results/claims/ch4_f1_steady.csv      one claim: the runs that it rests on, and the verdict
#   snakemake --config preset=smoke                 other sizes: a file of workflows/config
#   snakemake --config data_root=DIR device=cuda    real data; other keys: workflows/config/README.md
#   snakemake --workflow-profile profiles/slurm     on a cluster
from snakemake.utils import min_version

min_version("9.19")


include: "workflows/rules/common.smk"
include: "workflows/rules/data.smk"
include: "workflows/rules/runs.smk"
include: "workflows/rules/tables.smk"
include: "workflows/rules/figures.smk"
include: "workflows/rules/claims.smk"
include: "workflows/rules/report.smk"


onstart:
    if BUSY:
        sys.exit(2)


onerror:
    # After Snakemake's own last words, which name files alone.
    for line in reversed([line for file in log for line in failures(Path(file))]):
        atexit.register(print, line, file=sys.stderr)


onsuccess:
    # Tables and claims that were asked for by name are printed; `make` prints them itself, also where nothing was to be done.
    asked = [
        target
        for target in sorted(workflow.dag_settings.targets)
        if Path(target).suffix == ".csv"
        and Path(target).stem in {*TABLES, *CLAIM_RUNS}
    ]
    if asked and os.environ.get("EFFBENCH_SHOW") != "no":
        places = ["--tables", str(ROOT / "workflows/tables")]
        shell("env -u EFFBENCH_WORKER effbench show {asked:q} {places:q}")


rule all:
    default_target: True
    input:
        expand(f"{RESULTS}/{{table}}.csv", table=TABLES),
        expand(f"{RESULTS}/{{figure}}.svg", figure=FIGURES),
        f"{RESULTS}/claims.csv",
        f"{RESULTS}/report.html",
