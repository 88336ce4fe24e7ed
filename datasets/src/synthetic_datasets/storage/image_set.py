"""What files of pictures have in common. ``image-set``: images of several domains (0 source, 1 target, others), some of
them outliers; two images match when they have the same label of 0 or more. ``mask-set``: every pixel has a class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic_datasets.generators.generator import Field
from synthetic_datasets.seeding import SPLITS, shared_rng

SOURCE, TARGET = 0, 1
"""Domain numbers."""
FACTOR_ROWS = 1024
"""Samples in a chunk of numbers: read together, and tens of thousands of chunks of eight bytes would cost more than images."""
BACKGROUND, EDGE = 0, 255
"""Class of what is no shape, and the mask of pixels that have no class and count for nothing."""
WHOLE = 0.98
"""A pixel has a class where one thing alone is seen in at least this part of it."""


@dataclass(frozen=True)
class Place:
    """What an index of a split stands for."""

    domain: int
    outlier: bool
    number: int
    """Counts the samples of the same domain and kind (inlier or outlier) from 0: modulo classes it is a balanced class."""


def rounded(value: float) -> int:
    """The nearest whole number, halves up."""
    return math.floor(value + 0.5)


def place(seed: int, split: str, index: int, counts: Sequence[int], outlier_share: float) -> Place:
    """What sample ``index`` is: domains lie one after the other, and outliers are spread over every domain but the
    source. Of a domain's ``n`` samples exactly ``rounded(outlier_share * n)`` are outliers: those that a permutation,
    which depends on seed, split, domain and ``n`` alone, puts first. So the outliers of a smaller share are among those
    of a larger one. Raises IndexError if the split has no such sample. ``counts``: samples of each domain."""
    first = 0
    for domain, count in enumerate(counts):
        if first <= index < first + count and domain == SOURCE:
            return Place(domain, False, index)
        if first <= index < first + count:
            rank = int(_ranks(seed, domain * len(SPLITS) + SPLITS[split], count)[index - first])
            outliers = rounded(outlier_share * count)
            return Place(domain, rank < outliers, rank if rank < outliers else rank - outliers)
        first += count
    raise IndexError(f"sample {index}, but the {split} split has {sum(counts)}")


@lru_cache(maxsize=8)
def _ranks(seed: int, number: int, count: int) -> NDArray[np.int64]:
    return shared_rng(seed, number).permutation(count)


def image_fields(height: int, width: int, label: str) -> dict[str, Field]:
    """The arrays that every ``image-set`` file has; ``label`` says what its classes are."""
    return {
        "image": Field((height, width, 3), "|u1", "RGB picture (H, W, 3)"),
        "label": factor("<i8", f"{label}; two images match where it is the same and not -1"),
        "domain": factor("<i8", "0 source, 1 target, others further domains"),
        "outlier": factor("|b1", "matches nothing in the source domain"),
    }


def factor(dtype: str, description: str, *shape: int) -> Field:
    """An array of numbers about every image."""
    return Field(shape, dtype, description, rows=FACTOR_ROWS)


def counts_of(arrays: Mapping[str, Any]) -> dict[str, float]:
    """How many images are source, target or of further domains, and how many of them outliers; for the card."""
    domain, outlier = arrays["domain"][:], arrays["outlier"][:]
    made = {"source_images": (domain == SOURCE).sum(), "target_images": (domain == TARGET).sum()}
    if (domain > TARGET).any():
        made["further_images"] = (domain > TARGET).sum()
    return {name: float(count) for name, count in made.items()} | {"outliers": float(outlier.sum())}


def separation(values: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how likely a positive sample has the larger value, ties half. 0.5 tells nothing apart.
    Raises ValueError if all samples are positive, or none."""
    if not 0 < positive.sum() < len(positive):
        raise ValueError(f"expected some positive samples and some others, got {positive.sum()} of {len(positive)}")
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse]  # from 1, ties share their mean
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def mask_fields(height: int, width: int, most: int) -> dict[str, Field]:
    """The arrays that every ``mask-set`` file has, for up to ``most`` things a picture."""
    return {
        "image": Field((height, width, 3), "|u1", "RGB picture (H, W, 3)"),
        "mask": Field((height, width), "|u1", "class of every pixel (H, W), 0 background; 255 on edges, to be ignored"),
        "labels": factor(
            "<i8", "class of each thing in the picture, from the farthest to the nearest; -1 for none", most
        ),
    }


def seen_parts(covers: Sequence[NDArray[np.float32]], size: int) -> list[NDArray[np.float32]]:
    """(size, size) for the background and each thing: the part of every pixel in which it is seen; the sum is 1.
    ``covers``: the part of every pixel that each thing covers, from the farthest to the nearest."""
    parts, left = [], np.ones((size, size), np.float32)
    for covered in reversed(covers):
        parts.append(left * covered)
        left = left - parts[-1]
    return [left, *reversed(parts)]


def label_map(parts: Sequence[NDArray[np.float32]], labels: Sequence[int]) -> NDArray[np.uint8]:
    """(H, W) class of the thing that is seen in at least ``WHOLE`` of a pixel, ``EDGE`` where none is, also between two
    things of one class. ``parts``: of the background and each thing (``seen_parts``); ``labels``: class of each thing."""
    mask = np.full(parts[0].shape, EDGE, np.uint8)
    for part, label in zip(parts, (BACKGROUND, *labels), strict=True):
        mask[part >= WHOLE] = label
    return mask
