# The verdict on each claim of the thesis, by the records of this build and the kept ones.
from efficiency_bench.claims import claim_runs, load_claims

CLAIMS_FILE = str(ROOT / "workflows/claims.yaml")
# Kept records and definitions: one input in place of hundreds.
KEPT = {
    path.relative_to(ROOT).as_posix(): path
    for place in ("results/reference/*/runs/*.json", "workflows/*/*.yaml")
    for path in ROOT.glob(place)
}
try:
    CLAIMS = load_claims(Path(CLAIMS_FILE), {**TABLES, **FIGURES})
    # All seeds of what claims rest on: a figure shows a single one.
    CLAIM_RUNS = with_starts(claim_runs(CLAIMS, PRESET, DATA_FOLDERS))
    RUNS |= {run.run_id: run for run in CLAIM_RUNS}
    if not BUSY:
        note_digests(
            Path(digest_of("claims")),
            command_sources("efficiency_bench.claims.judging"),
        )
        note(Path(digest_of("kept")), digest_files(KEPT) + "\n")
except UsageError as error:
    stop(error)


rule claims:
    input:
        records=[record_of(run) for run in CLAIM_RUNS],
        kept=digest_of("kept"),
        claims=CLAIMS_FILE,
        data_sets=str(ROOT / "workflows/data.yaml"),
        plan=lambda wildcards: plan_of("claims", CLAIM_RUNS),
        bench=digest_of("claims"),
    output:
        f"{RESULTS}/claims.csv",
    log:
        f"{RESULTS}/logs/claims.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        runs=[
            f"{RESULTS}/runs",
            *sorted(map(str, ROOT.glob("results/reference/*/runs"))),
        ],
    shell:
        "effbench claims {params.runs:q} --claims {input.claims:q} --out {output:q} > {log:q} 2>&1"
