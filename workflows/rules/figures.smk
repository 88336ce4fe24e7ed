# A figure is its YAML file, the records of its runs and the arrays that lie beside them.


rule plot:
    input:
        records=lambda wildcards: records_behind(figure_named(wildcards.figure)),
        figure=lambda wildcards: str(figure_named(wildcards.figure).path),
        preset=str(PRESET.path),
        data_sets=str(ROOT / "workflows/data.yaml"),
        plan=lambda wildcards: plan_of(wildcards.figure, TARGETS[wildcards.figure]),
        bench=digest_of("plot"),
    output:
        svg=f"{RESULTS}/{{figure}}.svg",
        png=f"{RESULTS}/{{figure}}.png",
        csv=f"{RESULTS}/{{figure}}.csv",
        columns=f"{RESULTS}/{{figure}}.csv-metadata.json",
    log:
        f"{RESULTS}/logs/plot/{{figure}}.log",
    wildcard_constraints:
        figure=r"fig\d+_\d+",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        options=result_options(),
    shell:
        "effbench plot {input.figure:q} --preset-file {input.preset:q} --data-sets {input.data_sets:q} "
        "{params.options:q} --out {output.svg:q} > {log:q} 2>&1"
