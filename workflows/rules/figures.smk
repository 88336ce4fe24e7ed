# A figure is its YAML file, the records of its runs and the arrays that lie beside them.


rule plot:
    input:
        records=lambda wildcards: figure_records(wildcards.figure),
        figure=lambda wildcards: str(figure_named(wildcards.figure).path),
        preset=str(PRESET.path),
        data_sets="workflows/data.yaml",
        bench=package_digest("efficiency_bench"),
    output:
        svg=f"{RESULTS}/{{figure}}.svg",
        png=f"{RESULTS}/{{figure}}.png",
        csv=f"{RESULTS}/{{figure}}.csv",
    log:
        f"{RESULTS}/logs/plot/{{figure}}.log",
    wildcard_constraints:
        figure=r"fig\d+_\d+",
    conda:
        "../../environment.yml"
    params:
        runs=f"{RESULTS}/runs",
        data=folder_options(VARIANTS),
        mix_devices="--mix-devices" if config["mix_devices"] else "",
    shell:
        "effbench plot {input.figure} --preset-file {input.preset} --data-sets {input.data_sets} "
        "--runs {params.runs} {params.data} {params.mix_devices} --out {output.svg} > {log} 2>&1"
