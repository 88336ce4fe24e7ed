"""Training of RoI heads that are made of constants, so that every number can be recomputed.

The regression says "no change", which makes the keyframe box the proposal, and the trajectory head always says the same.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from location_anticipation.model.roi_heads import AnticipationRoIHeads

pytestmark = pytest.mark.usefixtures("one_thread")
Heads = Callable[..., AnticipationRoIHeads]
Features = Callable[..., dict[str, Tensor]]
SHAPES = [(48, 64), (60, 50), (33, 80)]
T = 3
RAW = [3.5, -1.5, 0.75, 0.0]


def constant(heads: AnticipationRoIHeads) -> AnticipationRoIHeads:
    heads.train()
    torch.nn.init.zeros_(heads.box_predictor.bbox_pred.weight)
    torch.nn.init.zeros_(heads.box_predictor.bbox_pred.bias)
    assert heads.trajectory_head is not None
    torch.nn.init.zeros_(heads.trajectory_head.fc_out.weight)
    with torch.no_grad():
        heads.trajectory_head.fc_out.bias.copy_(torch.tensor(RAW * (heads.trajectory_head.num_classes or 1)))
    return heads


def target(*objects: list[float], seed: int = 5) -> dict[str, Tensor]:
    """Objects that go their own ways, all of them valid."""
    boxes = torch.tensor(objects).reshape(-1, 4)
    generator = torch.Generator().manual_seed(seed)
    speeds = 8 * torch.rand(len(boxes), 1, 4, generator=generator) - 4
    steps = torch.arange(1, T + 1)[None, :, None]
    return {
        "boxes": boxes,
        "labels": torch.arange(len(boxes)) % 2 + 1,
        "trajectories": boxes[:, None] + steps * speeds,
        "trajectory_valid": torch.ones(len(boxes), T, dtype=torch.bool),
    }


OBJECTS = ([2.0, 3, 20, 22], [25.0, 20, 50, 44], [30.0, 2, 44, 12])
NEAR = torch.tensor([[3.0, 3, 20, 21], [24.0, 21, 49, 45], [2.0, 4, 19, 22], [0.0, 30, 10, 40], [50.0, 0, 60, 9]])


def smooth_l1(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def loss_by_hand(facts: dict[str, Tensor], near: Tensor) -> tuple[float, int]:
    """Sum of equation 2.4 over the positive proposals, in pixels, and the number of proposals. One object at a time."""
    total = 0.0
    everything = torch.cat((near, facts["boxes"]))  # torchvision appends the true boxes
    overlaps = box_iou(facts["boxes"], everything)
    for row, box in enumerate(everything):
        thing = int(overlaps[:, row].argmax())
        if overlaps[thing, row] < 0.5:
            continue
        x1, y1, x2, y2 = box.tolist()
        key = [x1, y1, x2 - x1, y2 - y1]
        delta = [0.1 / T * raw * key[2 + i % 2] for i, raw in enumerate(RAW)]
        way = [facts["boxes"][thing].tolist(), *facts["trajectories"][thing].tolist()]
        way = [[a, b, c - a, d - b] for a, b, c, d in way]
        valid = [True, *facts["trajectory_valid"][thing].tolist()]
        for step in range(T + 1):
            for i in range(4):
                if valid[step]:
                    total += smooth_l1(way[step][i] - key[i] - step * delta[i])
                if step and valid[step] and valid[step - 1]:
                    total += smooth_l1(way[step][i] - way[step - 1][i] - delta[i])
    return total, len(everything)


@pytest.mark.parametrize("class_agnostic", [True, False])
def test_training_loss_of_a_hand_made_case(features: Features, make_heads: Heads, class_agnostic: bool) -> None:
    heads = constant(make_heads(rois_per_image=512, class_agnostic=class_agnostic, trajectory_weight=0.25))
    facts = target(*OBJECTS)
    facts["trajectory_valid"][1, 1:] = False  # leaves after one step
    facts["trajectory_valid"][2, 0] = False
    _, losses = heads(features(images=1), [NEAR], SHAPES[:1], [facts])
    total, count = loss_by_hand(facts, NEAR)
    assert list(losses) == ["loss_classifier", "loss_box_reg", "loss_trajectory"]
    assert losses["loss_trajectory"].item() == pytest.approx(0.25 * total / count, rel=1e-5)
    assert total > 50


def test_several_images_share_one_denominator(features: Features, make_heads: Heads) -> None:
    heads = constant(make_heads(rois_per_image=512, trajectory_weight=1.0))
    facts, empty, other = target(*OBJECTS), target(), target([10.0, 10, 25, 30], seed=6)
    _, losses = heads(features(), [NEAR, NEAR, NEAR[:2]], SHAPES, [facts, empty, other])
    (one, first), (three, third) = loss_by_hand(facts, NEAR), loss_by_hand(other, NEAR[:2])
    count = first + len(NEAR) + third  # the image without objects has sampled proposals too
    assert losses["loss_trajectory"].item() == pytest.approx((one + three) / count, rel=1e-5)


def test_the_trajectory_belongs_to_the_object_not_to_its_place_in_the_list(
    features: Features, make_heads: Heads
) -> None:
    heads = make_heads(rois_per_image=512).train()
    facts = target(*OBJECTS)
    facts["trajectory_valid"][0, 2] = facts["trajectory_valid"][1, :] = False

    def loss(changed: dict[str, Tensor]) -> float:
        value: float = heads(features(images=1), [NEAR], SHAPES[:1], [changed])[1]["loss_trajectory"].item()
        return value

    order = torch.tensor([2, 0, 1])
    permuted = {name: value[order] for name, value in facts.items()}
    assert loss(permuted) == pytest.approx(loss(facts), rel=1e-5)
    mixed = facts | {"trajectories": facts["trajectories"][order]}
    assert loss(mixed) != pytest.approx(loss(facts), rel=1e-2)


def test_the_box_loss_has_another_beta_than_torchvisions(features: Features, make_heads: Heads) -> None:
    heads = make_heads(rois_per_image=512, box_beta=1.0).train()
    maps, facts = features(images=1), target(*OBJECTS)
    _, losses = heads(maps, [NEAR], SHAPES[:1], [facts])
    proposals, _, labels, wanted = heads.select_training_samples([NEAR], [facts])
    logits, regression = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, SHAPES[:1])))
    torch.testing.assert_close(losses["loss_classifier"], torch.nn.functional.cross_entropy(logits, torch.cat(labels)))
    total = sum(
        smooth_l1(x)
        for row, label in enumerate(labels[0].tolist())
        for x in (regression[row, 4 * label : 4 * label + 4] - wanted[0][row]).tolist()
        if label > 0
    )
    assert losses["loss_box_reg"].item() == pytest.approx(total / len(labels[0]), rel=1e-4)


def test_the_keyframe_gradient_reaches_the_box_regression_on_demand(features: Features, make_heads: Heads) -> None:
    for keyframe, wanted in (("predicted", True), ("detached", False), ("true", False)):
        heads = make_heads(rois_per_image=512, keyframe=keyframe).train()
        loss = heads(features(images=1), [NEAR], SHAPES[:1], [target(*OBJECTS)])[1]["loss_trajectory"]
        (gradient,) = torch.autograd.grad(loss, heads.box_predictor.bbox_pred.weight, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) is wanted


def test_targets_that_do_not_fit_are_refused(features: Features, make_heads: Heads) -> None:
    heads = make_heads().train()

    def loss(facts: dict[str, Tensor]) -> None:
        heads(features(images=1), [NEAR], SHAPES[:1], [facts])

    facts = target(*OBJECTS)
    plain = {name: facts[name] for name in ("boxes", "labels")}
    with pytest.raises(ValueError, match=r"targets need trajectories \(N, 3, 4\).*, got \['boxes', 'labels'\]"):
        loss(plain)
    with pytest.raises(ValueError, match=r"targets need trajectories \(N, 3, 4\).*, got \(3, 2, 4\) and \(3, 3\)"):
        loss(facts | {"trajectories": facts["trajectories"][:, 1:]})
    with pytest.raises(ValueError, match="valid must be bool"):
        loss(facts | {"trajectory_valid": facts["trajectory_valid"].float()})
