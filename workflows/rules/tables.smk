# A table, or what a text says in numbers, is its YAML file and the records of its runs.


rule tabulate:
    input:
        records=lambda wildcards: table_records(wildcards.table),
        table=lambda wildcards: str(table_named(wildcards.table).path),
        preset=str(PRESET.path),
        data_sets="workflows/data.yaml",
        bench=package_digest("efficiency_bench"),
    output:
        f"{RESULTS}/{{table}}.csv",
    log:
        f"{RESULTS}/logs/tabulate/{{table}}.log",
    wildcard_constraints:
        table=r"(table|text)\d+_\d+",
    conda:
        "../../environment.yml"
    params:
        runs=f"{RESULTS}/runs",
        data=folder_options(VARIANTS),
        mix_devices="--mix-devices" if config["mix_devices"] else "",
    shell:
        "effbench tabulate {input.table} --preset-file {input.preset} --data-sets {input.data_sets} "
        "--runs {params.runs} {params.data} {params.mix_devices} --out {output} > {log} 2>&1"
