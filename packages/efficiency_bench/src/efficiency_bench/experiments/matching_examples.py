"""Pictures of two domains side by side, with the outliers of one of them (figure 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..drawn import Pictures

if TYPE_CHECKING:
    from outlier_matching.image_sets import Selection

PICTURES = 8
"""Images in a row of figure 4.3."""
PICTURE = 64
"""Pixels of their sides."""


@dataclass(frozen=True)
class Domains:
    """Both domains of a split."""

    source: Selection
    """Without the images of classes that make outliers of the target."""
    target: Selection
    """With its share of outliers."""


def examples(test: Domains, seed: int) -> Pictures:
    """Source images, target images of the same classes below them, and outliers of the target, drawn evenly."""
    from outlier_matching.images import resized

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
    names = source.facts.class_names
    return Pictures.of(
        [
            (
                name,
                [
                    (
                        int(images.indices[at]),
                        names[images.labels[at]] if images.labels[at] >= 0 else "",
                        resized(images.image(at), PICTURE).permute(1, 2, 0).numpy(),
                    )
                    for at in chosen
                ],
            )
            for name, images, chosen in rows
            if chosen
        ]
    )
