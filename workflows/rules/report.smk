# One page about everything that was built: claims, tables and figures, with the runs behind them.
REPORT_CODE = command_sources("efficiency_bench.report.page")
REPORT_ASSETS = REPORT_CODE["efficiency_bench.report.page"].parent / "assets"
if not BUSY:
    note_digests(
        Path(digest_of("report")),
        REPORT_CODE
        | {
            f"efficiency_bench.{file.name}": file
            for file in REPORT_ASSETS.rglob("*")
            if file.is_file()
        },
    )


rule report:
    input:
        tables=expand(f"{RESULTS}/{{table}}.csv", table=TABLES),
        figures=expand(f"{RESULTS}/{{figure}}.svg", figure=FIGURES),
        claims=f"{RESULTS}/claims.csv",
        definition=str(ROOT / "workflows/report.yaml"),
        bench=digest_of("report"),
    output:
        report(
            f"{RESULTS}/report.html",
            category="Report",
            labels={"content": "claims, tables and figures with their runs"},
        ),
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards, output: str(Path(output[0]).parent),
        workflows=lambda wildcards, input: str(Path(input.definition).parent),
        kept=sorted(map(str, ROOT.glob("results/reference/*/"))),
    shell:
        "effbench report --results {params.results:q} --kept {params.kept:q} --claims {input.claims:q} "
        "--workflows {params.workflows:q} --out {output:q} > {log:q} 2>&1"
