# Generated and converted data, and indexes of data read in its own layout.


rule build:
    input:
        lambda wildcards: digest_of(f"build-{FOLDERS[wildcards.folder].generator}"),
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
        ENVIRONMENT
    resources:
        mem_mb=memory_mb,
        runtime=120,
    params:
        generator=lambda wildcards: FOLDERS[wildcards.folder].generator,
        folder=lambda wildcards, output: str(Path(output.card).parent),
        options=lambda wildcards: FOLDERS[wildcards.folder].build,
    shell:
        "synthdata build {params.generator} --out {params.folder:q} {params.options:q} > {log:q} 2>&1"


rule convert:
    input:
        digest_of("convert"),
    output:
        f"{DATA}/{{folder}}/{{file}}.json",
    log:
        f"{RESULTS}/logs/convert/{{folder}}-{{file}}.log",
    wildcard_constraints:
        folder=one_of(name for name, made in FOLDERS.items() if made.convert),
        file=r"(train|test)(_\w+)?",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory_mb,
        runtime=120,
    params:
        how=lambda wildcards: FOLDERS[wildcards.folder].convert[
            f"{wildcards.file}.json"
        ],
    shell:
        'location-anticipation convert {params.how.format} "$EFFICIENCY_DATA"/{params.how.root:q} '
        "{params.how.options:q} --out {output:q} > {log:q} 2>&1"


rule index:
    input:
        lambda wildcards: digest_of(
            f"index-{FOLDERS[wildcards.folder].read[f'{wildcards.split}.index.json'].package}"
        ),
    output:
        f"{DATA}/{{folder}}/{{split}}.index.json",
    log:
        f"{RESULTS}/logs/index/{{folder}}-{{split}}.log",
    wildcard_constraints:
        folder=one_of(name for name, made in FOLDERS.items() if made.read),
        split="train|test",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory_mb,
        runtime=120,
    params:
        how=lambda wildcards: FOLDERS[wildcards.folder].read[
            f"{wildcards.split}.index.json"
        ],
        options=lambda wildcards: index_options(
            FOLDERS[wildcards.folder].read[f"{wildcards.split}.index.json"]
        ),
    shell:
        'effbench index {params.how.format} "$EFFICIENCY_DATA"/{params.how.root:q} {params.options:q} '
        "--out {output:q} > {log:q} 2>&1"
