"""COCO's mAP against pycocotools 2.0, which is no dependency: ``coco_cases.json`` has what it gives for these cases."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from location_anticipation.metrics.average_precision import average_precision

Frame = dict[str, NDArray[np.float64]]
EXPECTED = json.loads((Path(__file__).parent / "coco_cases.json").read_text())


def random_case(seed: int) -> tuple[list[Frame], list[Frame]]:
    """Detections and true boxes: shifted boxes, misses, false alarms, equal scores, crowds, 20 to 100 boxes of a class.

    Sides are eighths of pixels, exact as float32, or whole, so that IoUs lie on thresholds.
    """
    rng = np.random.default_rng(seed)
    classes, grid = int(rng.integers(1, 4)), (1 if seed % 3 == 0 else 8)
    total = classes * int(rng.choice([20, 25, 50, 100]))
    frames = int(rng.integers(1, total // 2))
    frame_of = np.sort(rng.integers(0, frames, total))
    corner = rng.integers(0, 200 * grid, (total, 2))
    boxes = np.concatenate((corner, corner + rng.integers(6 * grid, 60 * grid, (total, 2))), axis=1)
    labels = np.arange(total) % classes + 1
    crowd = (rng.random(total) < (0.05 if seed % 4 == 0 else 0)).astype(int)
    kept = np.flatnonzero(rng.random(total) < rng.uniform(0.5, 1))
    kept = np.concatenate((kept, kept[rng.random(len(kept)) < 0.1]))
    moved = boxes[kept] + rng.integers(-3 * grid, 3 * grid + 1, (len(kept), 4)) * (rng.random((len(kept), 1)) < 0.7)
    false = int(rng.integers(0, 2 * total if seed % 5 == 0 else total))
    corner = rng.integers(0, 200 * grid, (false, 2))
    alarms = np.concatenate((corner, corner + rng.integers(6 * grid, 60 * grid, (false, 2))), axis=1)
    found = np.concatenate((moved, alarms)) / grid
    found_labels = np.concatenate((labels[kept], rng.integers(1, classes + 1, false)))
    where = np.concatenate((frame_of[kept], rng.integers(0, frames, false)))
    scores = np.round(rng.random(len(found)), 2 if seed % 2 else 6).astype(np.float32)
    detections = [
        {"boxes": found[i], "labels": found_labels[i], "scores": scores[i]} for i in (where == t for t in range(frames))
    ]
    places = [frame_of == t for t in range(frames)]
    return detections, [{"boxes": boxes[i] / grid, "labels": labels[i], "iscrowd": crowd[i]} for i in places]


@pytest.mark.parametrize("seed", range(60))
def test_coco_is_that_of_pycocotools(seed: int) -> None:
    kinds = {"boxes": torch.float32, "scores": torch.float32, "labels": torch.int64, "iscrowd": torch.int64}
    detections, targets = (
        [{name: torch.from_numpy(value).to(kinds[name]) for name, value in frame.items()} for frame in frames]
        for frames in random_case(seed)
    )
    result = average_precision(detections, targets)
    values = [result.map, result.map_50, result.map_75, *result.per_class.values()]
    assert list(result.per_class) == list(range(1, len(values) - 2))
    assert values == pytest.approx(EXPECTED[seed], abs=1e-6)
