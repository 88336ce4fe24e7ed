#!/usr/bin/env bash
# Makes the pictures of the site with the commands of this project: `docs/pictures/make.sh` makes all, with names (make.sh
# full_video) some. A minute of one core; nothing is downloaded. Two are drawn from kept records.
# Data and networks stay in the folder WORK; the pictures come into docs/pictures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
work=${WORK:-$root/results/pictures}
mkdir -p "$work"
cd "$work"

location_anticipation() {
    effbench plot "$here/fig2_4.yaml" --preset-file "$root/workflows/config/paper.yaml" \
        --data-sets "$root/workflows/data.yaml" --runs "$root/results/reference/amd-epyc-2-cores/runs" \
        --data moving_digits=data/moving_digits-mnist --out "$work/fig2_4.svg"
    cp fig2_4.png "$here/location_anticipation.png"
}

full_video() {
    # Clusters follow from how activations change, so a network that has hardly been trained shows them.
    synthdata build move4mnist --out videos --train 120 --test 20 --background texture
    full-video train videos/train.h5 --out network --width 16 --dropout 0 --optimizer adamw --learning-rate 0.0005 \
        --weight-decay 0.05 --size 64 --resize 64 --crop centre --flip directions --clusters 8 --epochs 1
    python "$here/files.py" video videos/test.h5 5 clip
    full-video predict clip --checkpoint network/network.safetensors --strip "$here/full_video.png"
}

outlier_matching() {
    effbench run matching_toy --preset quick --out runs/matching_toy-d260b8df-s0.json
    effbench plot "$root/workflows/figures/fig4_1.yaml" --preset-file "$root/workflows/config/quick.yaml" --runs runs \
        --out fig4_1.svg
    cp fig4_1.png "$here/outlier_matching.png"
}

weight_align() {
    effbench plot "$root/workflows/figures/fig5_3.yaml" --preset-file "$root/workflows/config/cpu.yaml" \
        --data-sets "$root/workflows/data.yaml" --runs "$root/results/reference/intel-xeon-2-cores/runs" \
        --data cifar100=data/cifar10-jpeg --out "$work/fig5_3.svg"
    cp fig5_3.png "$here/weight_align.png"
}

synthetic_datasets() {
    # The others are previews of larger files, which README.md of synthetic_datasets shows.
    synthdata build moving-digits --out preview --train 40 --test 40
    python "$here/files.py" join preview/preview.png "$root"/datasets/{shape,objects,shape_scenes}.png \
        --out "$here/synthetic_datasets.png"
}

for name in "${@:-location_anticipation full_video outlier_matching weight_align synthetic_datasets}"; do
    for each in $name; do "$each"; done
done
