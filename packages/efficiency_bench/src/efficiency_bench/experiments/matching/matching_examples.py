"""Both domains of a split, and pictures of them side by side with the outliers of one (figure 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from efficiency_bench.experiments.base import Context
from efficiency_bench.records.pictures import Pictures

if TYPE_CHECKING:
    from outlier_matching import Selection

PICTURES = 8
"""Images in a row of figure 4.3."""
PICTURE = 64
"""Side of an image in pixels."""


class Domains(NamedTuple):
    """Both domains of a split: the source without outlier classes, the target with its share of outliers."""

    source: Selection
    target: Selection


def open_domains(context: Context, name: str, split: str, outlier_share: float) -> Domains:
    """Source and target of a split of the data set `name`, the target with an exact share of outliers."""
    from outlier_matching import draw_targets, open_images, select

    images = context.open_file(name, split, lambda file: open_images(file, "image-set", split))
    target = select(images, domain=1)
    drawn = draw_targets(target.outliers, outlier_share, context.seed)
    return Domains(select(images, domain=0, outliers=False), select(images, indices=target.indices[drawn]))


def examples(test: Domains, seed: int) -> Pictures:
    """Source images, target images of the same classes below them, and outliers of the target, drawn at random."""
    from outlier_matching import resized

    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4, 3)))
    source, target = test.source, test.target
    inliers = np.where(target.outliers, -1, target.labels)
    shared = np.intersect1d(np.unique(source.labels[source.labels >= 0]), np.unique(inliers[inliers >= 0]))
    classes = np.sort(rng.permutation(shared)[:PICTURES])
    rows = [
        ("source", source, [int(rng.choice(np.flatnonzero(source.labels == label))) for label in classes]),
        ("target", target, [int(rng.choice(np.flatnonzero(inliers == label))) for label in classes]),
        ("target, outliers", target, rng.permutation(np.flatnonzero(target.outliers))[:PICTURES].tolist()),
    ]
    names = source.info.class_names

    def picture(images: Selection, at: int) -> tuple[int, str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        label = images.labels[at]
        pixels = resized(images.image(at), PICTURE).permute(1, 2, 0).numpy()
        return int(images.indices[at]), names[label] if label >= 0 else "", pixels

    return Pictures.of([(name, [picture(images, at) for at in chosen]) for name, images, chosen in rows if chosen])
