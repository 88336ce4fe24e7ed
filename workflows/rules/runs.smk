# One run record per run; the id in its name is a hash of all settings and of the data, so presets never share a record
# that differs. What a training keeps while it works lies in the folder of the same name.


rule train:
    input:
        lambda wildcards: run_inputs(run_named(wildcards.run_id)),
    output:
        f"{RESULTS}/runs/{{run_id}}.json",
    log:
        f"{RESULTS}/logs/runs/{{run_id}}.log",
    wildcard_constraints:
        run_id=run_id_pattern("train"),
    conda:
        ENVIRONMENT
    # These networks gain little from a second core (a tenth of the time at 64 pixels), so trainings run side by side.
    threads: devices_of
    resources:
        gpu=lambda wildcards: GPUS * devices_of(wildcards),
        devices=devices_of,
        # Of jobs on a cluster; `cpus_per_gpu` is for the threads that read batches ahead.
        nodes=1,
        cpus_per_gpu=4,
        mem_mb=memory_mb,
        runtime=240,
    params:
        experiment=lambda wildcards: run_named(wildcards.run_id).experiment,
        options=lambda wildcards: run_options(run_named(wildcards.run_id)),
        device=DEVICE,
    shell:
        "effbench run {params.experiment} {params.options:q} --device {params.device} --devices {resources.devices} "
        '--preset "$EFFICIENCY_PRESET" --out {output:q} > {log:q} 2>&1'


rule measure:
    input:
        lambda wildcards: run_inputs(run_named(wildcards.run_id)),
    output:
        f"{RESULTS}/runs/{{run_id}}.json",
    log:
        f"{RESULTS}/logs/runs/{{run_id}}.log",
    wildcard_constraints:
        run_id=run_id_pattern("measure"),
    conda:
        ENVIRONMENT
    # Every core: nothing else runs beside a measurement. On a cluster it has the node for itself, and a profile gives threads.
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=GPUS,
        mem_mb=memory_mb,
        runtime=120,
        slurm_extra="--exclusive",
    params:
        experiment=lambda wildcards: run_named(wildcards.run_id).experiment,
        options=lambda wildcards: run_options(run_named(wildcards.run_id)),
        device=DEVICE,
    shell:
        "effbench measure {params.experiment} {params.options:q} --device {params.device} "
        '--preset "$EFFICIENCY_PRESET" --out {output:q} > {log:q} 2>&1'
