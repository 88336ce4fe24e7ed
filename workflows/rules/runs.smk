# One run record per run; the id in its name is a hash of all settings and of the data, so presets never share a record
# that differs. What a training keeps while it works lies in the folder of the same name.


rule train:
    input:
        data=lambda wildcards: run_data(run_named(wildcards.run_id)),
        sources=lambda wildcards: run_sources(run_named(wildcards.run_id)),
        start=lambda wildcards: run_start(run_named(wildcards.run_id)),
    output:
        f"{RESULTS}/runs/{{run_id}}.json",
    log:
        f"{RESULTS}/logs/runs/{{run_id}}.log",
    wildcard_constraints:
        run_id=run_id_pattern("train"),
    conda:
        "../../environment.yml"
    # These networks gain little from a second core (a tenth of the time at 64 pixels), so trainings run side by side.
    threads: 1
    resources:
        gpu=GPUS,
    params:
        experiment=lambda wildcards: run_named(wildcards.run_id).experiment,
        options=lambda wildcards: run_options(run_named(wildcards.run_id)),
        device=config["device"],
        preset=PRESET.name,
    shell:
        "effbench run {params.experiment} {params.options:q} --device {params.device} "
        "--preset {params.preset} --out {output} > {log} 2>&1"


rule measure:
    input:
        data=lambda wildcards: run_data(run_named(wildcards.run_id)),
        sources=lambda wildcards: run_sources(run_named(wildcards.run_id)),
        start=lambda wildcards: run_start(run_named(wildcards.run_id)),
    output:
        f"{RESULTS}/runs/{{run_id}}.json",
    log:
        f"{RESULTS}/logs/runs/{{run_id}}.log",
    wildcard_constraints:
        run_id=run_id_pattern("measure"),
    conda:
        "../../environment.yml"
    # Every core: nothing else runs beside a measurement.
    threads: workflow.cores
    resources:
        gpu=GPUS,
    params:
        experiment=lambda wildcards: run_named(wildcards.run_id).experiment,
        options=lambda wildcards: run_options(run_named(wildcards.run_id)),
        device=config["device"],
        preset=PRESET.name,
    shell:
        "effbench measure {params.experiment} {params.options:q} --device {params.device} "
        "--preset {params.preset} --out {output} > {log} 2>&1"
