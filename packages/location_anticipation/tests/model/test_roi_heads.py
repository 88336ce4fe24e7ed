"""RoI heads: torchvision's detections, trajectories for those alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import clip_boxes_to_image

from location_anticipation.model.criterion import TrajectoryCriterion
from location_anticipation.model.roi_heads import AnticipationRoIHeads

pytestmark = pytest.mark.usefixtures("one_thread")
Heads = Callable[..., AnticipationRoIHeads]
Features = Callable[..., dict[str, Tensor]]
SHAPES = [(48, 64), (60, 50), (33, 80)]
T = 3


def proposals(*counts: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    result = []
    for count, (height, width) in zip(counts, SHAPES, strict=False):
        points = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
        corners = (points * torch.tensor([width, height])).flatten(1)
        corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2] + 3)
        result.append(corners)
    return result


RULES = [
    {},
    {"score_threshold": 0.5},
    {"nms_threshold": 0.1},
    {"detections_per_image": 3},
    {"score_threshold": 0.3, "nms_threshold": 0.7, "detections_per_image": 5, "class_agnostic": False},
    {"score_threshold": 1.0},  # nothing passes
    {"horizon": 0},
    {"trajectory_features": "box_head"},
]


@torch.no_grad()
@pytest.mark.parametrize("rules", RULES, ids=str)
def test_detections_are_torchvisions(features: Features, make_heads: Heads, rules: dict[str, Any]) -> None:
    heads = make_heads(num_classes=4, **rules)
    maps, boxes = features(), proposals(40, 7, 25)
    boxes[0][:10] += 500  # outside the image: clipped to nothing, and left out
    result, _ = heads(maps, boxes, SHAPES)
    expected, _ = RoIHeads.forward(heads, maps, boxes, SHAPES)
    counts = [len(e["boxes"]) for e in expected]
    assert sum(counts) == 0 if rules.get("score_threshold") == 1.0 else sum(counts) > 5
    for found, wanted in zip(result, expected, strict=True):
        assert found["labels"].dtype == torch.int64
        for key in ("boxes", "labels", "scores"):
            assert torch.equal(found[key], wanted[key])
        if "horizon" in rules:
            assert "trajectories" not in found
        else:
            assert found["trajectories"].shape == (len(wanted["boxes"]), T, 4)


@torch.no_grad()
@pytest.mark.parametrize("counts", [(0,), (0, 0, 0), (5, 0, 3)])
def test_images_without_proposals(features: Features, make_heads: Heads, counts: tuple[int, ...]) -> None:
    result, _ = make_heads()(features(images=len(counts)), proposals(*counts), SHAPES[: len(counts)])
    for found, count in zip(result, counts, strict=True):
        assert (len(found["boxes"]) > 0) == (count > 0)
        assert found["boxes"].shape[1:] == (4,)
        assert found["trajectories"].shape == (len(found["boxes"]), T, 4)


@torch.no_grad()
def test_the_trajectory_head_sees_the_surviving_boxes_once(features: Features, make_heads: Heads) -> None:
    heads = make_heads(score_threshold=0.4, detections_per_image=6)
    seen: list[tuple[Tensor, ...]] = []
    heads.trajectory_head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    result, _ = heads(features(), proposals(200, 150, 180), SHAPES)
    kept = sum(len(found["boxes"]) for found in result)
    assert 0 < kept <= 18
    ((pooled, relative),) = seen  # one call for all images
    assert pooled.shape[0] == relative.shape[0] == kept
    # The boxes go in as (x, y, w, h), divided by the image's width and height.
    first, (height, width) = result[0]["boxes"][0], SHAPES[0]
    x1, y1, x2, y2 = first.tolist()
    assert relative[0].tolist() == pytest.approx([x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height])


@torch.no_grad()
@pytest.mark.parametrize(
    ("loss", "space", "known"),
    [("traj", "image", "pooled"), ("bag", "image", "box_head"), ("traj", "coder", "pooled")],
)
@pytest.mark.parametrize("agnostic", [True, False])
def test_trajectories_are_those_of_the_box_and_its_proposal(
    features: Features, make_heads: Heads, agnostic: bool, loss: str, space: str, known: str
) -> None:
    heads = make_heads(num_classes=3, class_agnostic=agnostic, loss=loss, space=space, trajectory_features=known)
    maps, boxes = features(), proposals(12, 9, 5)
    result, _ = heads(maps, boxes, SHAPES)
    pooled = heads.box_roi_pool(maps, boxes, SHAPES)
    represented = heads.box_head(pooled)
    _, regression = heads.box_predictor(represented)
    inputs = pooled if known == "pooled" else represented
    # Of every proposal (R, C, 4), by the decoding of torchvision, before clipping.
    decoded = BoxCoder((10.0, 10.0, 5.0, 5.0)).decode(regression, boxes)
    compared, start = 0, 0
    for found, shape, proposed in zip(result, SHAPES, boxes, strict=True):
        candidates = clip_boxes_to_image(decoded[start : start + len(proposed)], shape)
        for box, label, trajectory in zip(found["boxes"], found["labels"], found["trajectories"], strict=True):
            (row,) = (candidates[:, label] == box).all(dim=1).nonzero().flatten().tolist()  # its proposal
            size = torch.tensor([shape[1], shape[0]])
            relative = torch.cat((box[:2] / size, (box[2:] - box[:2]) / size))[None]
            raw = heads.trajectory_head.forward_plain(inputs[start + row : start + row + 1], relative)
            raw = raw if agnostic else raw[:, :, label - 1]
            expected = clip_boxes_to_image(TrajectoryCriterion(loss, space).decode(box[None], raw), shape)[0]
            torch.testing.assert_close(trajectory, expected, rtol=1e-4, atol=1e-3)
            compared += 1
        start += len(proposed)
    assert compared > 20
