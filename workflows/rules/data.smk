# Generated and converted data, indexes of data read in its own layout, and a digest of every package's source, so that an edit of the code repeats what rests on it.


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


rule build:
    input:
        package_digest("synthetic_datasets"),
    output:
        train=f"{DATA}/{{folder}}/train.h5",
        test=f"{DATA}/{{folder}}/test.h5",
        card=f"{DATA}/{{folder}}/card.json",
        preview=f"{DATA}/{{folder}}/preview.png",
    log:
        f"{RESULTS}/logs/build/{{folder}}.log",
    wildcard_constraints:
        folder=one_of(name for name, made in FOLDERS.items() if made.generator),
    conda:
        "../../environment.yml"
    params:
        generator=lambda wildcards: FOLDERS[wildcards.folder].generator,
        folder=lambda wildcards, output: str(Path(output.card).parent),
        options=lambda wildcards: FOLDERS[wildcards.folder].build,
    shell:
        "synthdata build {params.generator} --out {params.folder} {params.options} > {log} 2>&1"


rule convert:
    input:
        package_digest("location_anticipation"),
    output:
        f"{DATA}/{{folder}}/{{file}}.json",
    log:
        f"{RESULTS}/logs/convert/{{folder}}-{{file}}.log",
    wildcard_constraints:
        folder=one_of(name for name, made in FOLDERS.items() if made.convert),
        file=r"(train|test)(_\w+)?",
    conda:
        "../../environment.yml"
    params:
        how=lambda wildcards: FOLDERS[wildcards.folder].convert[
            f"{wildcards.file}.json"
        ],
    shell:
        'location-anticipation convert {params.how.format} "$EFFICIENCY_DATA"/{params.how.root:q} '
        "{params.how.options:q} --out {output} > {log} 2>&1"


rule index:
    input:
        lambda wildcards: package_digest(
            FOLDERS[wildcards.folder].read[f"{wildcards.split}.index.json"].package
        ),
    output:
        f"{DATA}/{{folder}}/{{split}}.index.json",
    log:
        f"{RESULTS}/logs/index/{{folder}}-{{split}}.log",
    wildcard_constraints:
        folder=one_of(name for name, made in FOLDERS.items() if made.read),
        split="train|test",
    conda:
        "../../environment.yml"
    params:
        how=lambda wildcards: FOLDERS[wildcards.folder].read[
            f"{wildcards.split}.index.json"
        ],
        options=lambda wildcards: index_options(
            FOLDERS[wildcards.folder].read[f"{wildcards.split}.index.json"]
        ),
    shell:
        'effbench index {params.how.format} "$EFFICIENCY_DATA"/{params.how.root:q} {params.options:q} '
        "--out {output} > {log} 2>&1"
