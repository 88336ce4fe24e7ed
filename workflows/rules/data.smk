# Generated data, and a digest of every package's source, so that an edit of the code repeats what rests on it.


rule source_digest:
    input:
        lambda wildcards: sorted(map(str, PACKAGES[wildcards.package].rglob("*.py"))),
    output:
        f"{RESULTS}/.src/{{package}}.sha256",
    log:
        f"{RESULTS}/logs/source_digest/{{package}}.log",
    wildcard_constraints:
        package="|".join(PACKAGES),
    conda:
        "../../environment.yml"
    shell:
        "effbench digest {wildcards.package} > {output} 2> {log}"


rule build_moving_digits:
    input:
        package_digest("synthetic_datasets"),
    output:
        train=f"{DATA}/{VARIANTS['moving_digits']}/train.h5",
        test=f"{DATA}/{VARIANTS['moving_digits']}/test.h5",
        card=f"{DATA}/{VARIANTS['moving_digits']}/card.json",
        preview=f"{DATA}/{VARIANTS['moving_digits']}/preview.png",
    log:
        f"{RESULTS}/logs/build/{VARIANTS['moving_digits']}.log",
    conda:
        "../../environment.yml"
    params:
        folder=lambda wildcards, output: str(Path(output.card).parent),
        options=PRESET.data_options("moving_digits"),
    shell:
        "synthdata build moving-digits --out {params.folder} {params.options} > {log} 2>&1"
