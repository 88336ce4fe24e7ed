# The verdict on each claim of the thesis, by the records of this build and the kept ones.
from efficiency_bench.claims import claim_runs, load_claims
from efficiency_bench.workflow.presets import check_claims

CLAIMS_FILE = str(ROOT / "workflows/claims.yaml")
# Kept records and definitions: one input in place of hundreds.
KEPT = {
    path.relative_to(ROOT).as_posix(): path
    for place in ("results/reference/*/runs/*.json", "workflows/*/*.yaml")
    for path in ROOT.glob(place)
}
try:
    CLAIMS = load_claims(Path(CLAIMS_FILE), {**TABLES, **FIGURES})
    check_claims(PRESET, CLAIMS.seeds_names)
    # All seeds of what claims rest on: a figure shows a single one.
    CLAIM_RUNS = {
        claim.id: with_starts(claim_runs([claim], PRESET, DATA_FOLDERS))
        for claim in CLAIMS.claims
    }
    EVERY_CLAIM = {run.run_id: run for run in chain(*CLAIM_RUNS.values())}
    RUNS |= EVERY_CLAIM
    if workflow.is_main_process:
        check_asked(sys.argv[1:], f"{RESULTS}/claims", CLAIM_RUNS)
    if not BUSY:
        note_digests(
            Path(digest_of("claims")),
            command_sources("efficiency_bench.claims.judging"),
        )
        note(Path(digest_of("kept")), digest_files(KEPT) + "\n")
except UsageError as error:
    stop(error)

# Folders of records that judge: of this build, and the kept ones.
JUDGES = [
    f"{RESULTS}/runs",
    *sorted(map(str, ROOT.glob("results/reference/*/runs"))),
]


rule claims:
    input:
        records=[record_of(run) for run in EVERY_CLAIM.values()],
        kept=digest_of("kept"),
        claims=CLAIMS_FILE,
        data_sets=str(ROOT / "workflows/data.yaml"),
        plan=lambda wildcards: plan_of("claims", EVERY_CLAIM.values()),
        bench=digest_of("claims"),
    output:
        f"{RESULTS}/claims.csv",
    log:
        f"{RESULTS}/logs/claims.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        runs=JUDGES,
    shell:
        "effbench claims {params.runs:q} --claims {input.claims:q} --out {output:q} > {log:q} 2>&1"


# One claim, with the runs that it rests on and no others.
rule claim:
    input:
        records=lambda wildcards: list(map(record_of, runs_behind(wildcards.claim))),
        kept=digest_of("kept"),
        claims=CLAIMS_FILE,
        data_sets=str(ROOT / "workflows/data.yaml"),
        plan=lambda wildcards: plan_of(
            f"claims/{wildcards.claim}", runs_behind(wildcards.claim)
        ),
        bench=digest_of("claims"),
    output:
        f"{RESULTS}/claims/{{claim}}.csv",
    log:
        f"{RESULTS}/logs/claims/{{claim}}.log",
    wildcard_constraints:
        claim=r"\w+",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        runs=JUDGES,
    shell:
        "effbench claims {params.runs:q} --claims {input.claims:q} --only {wildcards.claim} --out {output:q} > {log:q} 2>&1"
