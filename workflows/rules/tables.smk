# A table, or what a text says in numbers, is its YAML file and the records of its runs.


rule tabulate:
    input:
        records=lambda wildcards: records_behind(table_named(wildcards.table)),
        table=lambda wildcards: str(table_named(wildcards.table).path),
        preset=str(PRESET.path),
        data_sets=str(ROOT / "workflows/data.yaml"),
        plan=lambda wildcards: plan_of(wildcards.table, TARGETS[wildcards.table]),
        bench=digest_of("tabulate"),
    output:
        csv=f"{RESULTS}/{{table}}.csv",
        columns=f"{RESULTS}/{{table}}.csv-metadata.json",
    log:
        f"{RESULTS}/logs/tabulate/{{table}}.log",
    wildcard_constraints:
        table=r"(table|text)\d+_\d+",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        options=result_options(),
    shell:
        "effbench tabulate {input.table:q} --preset-file {input.preset:q} --data-sets {input.data_sets:q} "
        "{params.options:q} --out {output.csv:q} > {log:q} 2>&1"
