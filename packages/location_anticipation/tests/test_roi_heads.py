"""RoI heads: torchvision's detections, trajectories for those alone, and a loss that can be added up by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import box_iou, clip_boxes_to_image

from location_anticipation import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.criterion import TrajectoryCriterion
from location_anticipation.roi_heads import AnticipationRoIHeads

pytestmark = pytest.mark.usefixtures("one_thread")
Config = Callable[..., DetectorConfig]
SHAPES = [(48, 64), (60, 50), (33, 80)]
T = 3


def make_heads(config: DetectorConfig) -> AnticipationRoIHeads:
    """RoI heads of a detector, in eval mode, whose outputs are far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: AnticipationRCNN = build_detector(config)
        heads = model.roi_heads.eval()
        torch.nn.init.normal_(heads.box_predictor.cls_score.weight, std=3)
        torch.nn.init.normal_(heads.box_predictor.bbox_pred.weight, std=2)
        if heads.trajectory_head is not None:
            torch.nn.init.normal_(heads.trajectory_head.fc_out.weight, std=2)
    return heads


def features(channels: int = 32, images: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        str(level): torch.rand(images, channels, 24 // 2**level, 24 // 2**level, generator=generator)
        for level in range(4)
    }


def proposals(*counts: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    result = []
    for count, (height, width) in zip(counts, SHAPES, strict=False):
        points = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
        corners = (points * torch.tensor([width, height])).flatten(1)
        corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2] + 3)
        result.append(corners)
    return result


class Recorder:
    """Counts the calls of a module and keeps what they were given."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.inputs: list[tuple[Tensor, ...]] = []
        module.register_forward_pre_hook(lambda _, arguments: self.inputs.append(arguments))


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
def test_detections_are_torchvisions(tiny: Config, rules: dict[str, Any]) -> None:
    heads = make_heads(tiny(num_classes=4, **rules))
    maps, boxes = features(), proposals(40, 7, 25)
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
def test_boxes_without_an_area_are_left_out_as_torchvision_does(tiny: Config) -> None:
    heads = make_heads(tiny())
    boxes = proposals(20)
    boxes[0][:10] += 500  # outside the image: clipped to nothing
    result, _ = heads(features(images=1), boxes, SHAPES[:1])
    expected, _ = RoIHeads.forward(heads, features(images=1), boxes, SHAPES[:1])
    assert len(expected[0]["boxes"]) > 0
    assert torch.equal(result[0]["boxes"], expected[0]["boxes"])


@torch.no_grad()
@pytest.mark.parametrize("counts", [(0,), (0, 0, 0), (5, 0, 3)])
def test_images_without_proposals(tiny: Config, counts: tuple[int, ...]) -> None:
    heads = make_heads(tiny())
    result, _ = heads(features(images=len(counts)), proposals(*counts), SHAPES[: len(counts)])
    for found, count in zip(result, counts, strict=True):
        assert (len(found["boxes"]) > 0) == (count > 0)
        assert found["boxes"].shape[1:] == (4,)
        assert found["trajectories"].shape == (len(found["boxes"]), T, 4)


@torch.no_grad()
def test_the_trajectory_head_sees_the_surviving_boxes_once(tiny: Config) -> None:
    heads = make_heads(tiny(score_threshold=0.4, detections_per_image=6))
    seen = Recorder(heads.trajectory_head)
    result, _ = heads(features(), proposals(200, 150, 180), SHAPES)
    kept = sum(len(found["boxes"]) for found in result)
    assert 0 < kept <= 18
    assert len(seen.inputs) == 1  # one call for all images
    pooled, relative = seen.inputs[0]
    assert pooled.shape[0] == relative.shape[0] == kept
    # The boxes go in as (x, y, w, h), divided by the image's width and height.
    first, (height, width) = result[0]["boxes"][0], SHAPES[0]
    x1, y1, x2, y2 = first.tolist()
    assert relative[0].tolist() == pytest.approx([x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height])


@torch.no_grad()
@pytest.mark.parametrize(
    ("loss", "space", "trajectory_features"),
    [("traj", "image", "pooled"), ("bag", "image", "box_head"), ("traj", "coder", "pooled")],
)
@pytest.mark.parametrize("class_agnostic", [True, False])
def test_trajectories_are_those_of_the_box_and_its_proposal(
    tiny: Config, class_agnostic: bool, loss: str, space: str, trajectory_features: str
) -> None:
    options = {"loss": loss, "space": space, "trajectory_features": trajectory_features}
    heads = make_heads(tiny(num_classes=3, class_agnostic=class_agnostic, **options))
    maps, boxes = features(), proposals(12, 9, 5)
    result, _ = heads(maps, boxes, SHAPES)
    pooled = heads.box_roi_pool(maps, boxes, SHAPES)
    represented = heads.box_head(pooled)
    _, regression = heads.box_predictor(represented)
    known = pooled if trajectory_features == "pooled" else represented
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    compared = 0
    for image, (found, shape) in enumerate(zip(result, SHAPES, strict=True)):
        rows = range(sum(len(b) for b in boxes[:image]), sum(len(b) for b in boxes[: image + 1]))
        for box, label, trajectory in zip(found["boxes"], found["labels"], found["trajectories"], strict=True):
            # The proposal that decodes, for this class, to this box.
            (row,) = [
                row
                for row in rows
                if torch.equal(
                    clip_boxes_to_image(
                        coder.decode(regression[row : row + 1], [boxes[image][row - rows.start][None]])[0, label], shape
                    ),
                    box,
                )
            ]
            size = torch.tensor([shape[1], shape[0]])
            relative = torch.cat((box[:2] / size, (box[2:] - box[:2]) / size))[None]
            raw = heads.trajectory_head.forward_plain(known[row : row + 1], relative)
            raw = raw if class_agnostic else raw[:, :, label - 1]
            expected = clip_boxes_to_image(TrajectoryCriterion(loss, space).decode(box[None], raw), shape)[0]
            torch.testing.assert_close(trajectory, expected, rtol=1e-4, atol=1e-3)
            compared += 1
    assert compared > 20


# Training. Heads that are made of constants, so that every number can be recomputed: the regression says "no change",
# which makes the keyframe box the proposal, and the trajectory head always says the same.

RAW = [3.5, -1.5, 0.75, 0.0]


def constant_heads(config: DetectorConfig) -> AnticipationRoIHeads:
    heads = make_heads(config).train()
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
def test_training_loss_of_a_hand_made_case(tiny: Config, class_agnostic: bool) -> None:
    heads = constant_heads(tiny(rois_per_image=512, class_agnostic=class_agnostic, trajectory_weight=0.25))
    facts = target(*OBJECTS)
    facts["trajectory_valid"][1, 1:] = False  # leaves after one step
    facts["trajectory_valid"][2, 0] = False
    _, losses = heads(features(images=1), [NEAR], SHAPES[:1], [facts])
    total, count = loss_by_hand(facts, NEAR)
    assert list(losses) == ["loss_classifier", "loss_box_reg", "loss_trajectory"]
    assert losses["loss_trajectory"].item() == pytest.approx(0.25 * total / count, rel=1e-5)
    assert total > 50


def test_several_images_share_one_denominator(tiny: Config) -> None:
    heads = constant_heads(tiny(rois_per_image=512, trajectory_weight=1.0))
    facts, empty, other = target(*OBJECTS), target(), target([10.0, 10, 25, 30], seed=6)
    _, losses = heads(features(), [NEAR, NEAR, NEAR[:2]], SHAPES, [facts, empty, other])
    (one, first), (three, third) = loss_by_hand(facts, NEAR), loss_by_hand(other, NEAR[:2])
    count = first + len(NEAR) + third  # the image without objects has sampled proposals too
    assert losses["loss_trajectory"].item() == pytest.approx((one + three) / count, rel=1e-5)


def test_the_trajectory_belongs_to_the_object_not_to_its_place_in_the_list(tiny: Config) -> None:
    heads = make_heads(tiny(rois_per_image=512)).train()
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


@pytest.mark.parametrize("box_beta", [1 / 9, 1.0])
def test_losses_of_the_detector_are_torchvisions_with_any_beta(tiny: Config, box_beta: float) -> None:
    heads = make_heads(tiny(rois_per_image=512, box_beta=box_beta)).train()
    maps, facts = features(images=1), target(*OBJECTS)
    _, losses = heads(maps, [NEAR], SHAPES[:1], [facts])
    proposals, _, labels, wanted = heads.select_training_samples([NEAR], [facts])
    logits, regression = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, SHAPES[:1])))
    classifier, box = fastrcnn_loss(logits, regression, labels, wanted)
    torch.testing.assert_close(losses["loss_classifier"], classifier)
    if box_beta == 1 / 9:
        torch.testing.assert_close(losses["loss_box_reg"], box)
    total = sum(
        (0.5 * x * x / box_beta if abs(x) < box_beta else abs(x) - 0.5 * box_beta)
        for row, label in enumerate(labels[0].tolist())
        for x in (regression[row, 4 * label : 4 * label + 4] - wanted[0][row]).tolist()
        if label > 0
    )
    assert losses["loss_box_reg"].item() == pytest.approx(total / len(labels[0]), rel=1e-4)


@pytest.mark.parametrize(("loss", "space"), [("traj", "image"), ("bag", "image"), ("traj", "coder")])
def test_what_is_learned_is_what_is_detected(tiny: Config, loss: str, space: str) -> None:
    """Training the head alone on one image leads to the trajectories that the targets hold."""
    heads = constant_heads(tiny(rois_per_image=512, loss=loss, space=space, nms_threshold=0.4))
    facts, maps = target(*OBJECTS), features(images=1)
    ways = torch.tensor([[2.0, 1, 3, 1], [-3, -2, -3, -3], [3, 4, 3, 5]])  # three motions, each with a change of size
    facts["trajectories"] = facts["boxes"][:, None] + torch.arange(1, T + 1)[None, :, None] * ways[:, None]
    optimizer = torch.optim.Adam(heads.trajectory_head.parameters())
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 300)
        optimizer.zero_grad()
        heads(maps, [facts["boxes"]], SHAPES[:1], [facts])[1]["loss_trajectory"].backward()
        optimizer.step()
    heads.eval()
    with torch.no_grad():
        (found,), _ = heads(maps, [facts["boxes"]], SHAPES[:1])
    wanted = clip_boxes_to_image(facts["trajectories"], SHAPES[0])
    compared = set()
    for box, trajectory in zip(found["boxes"], found["trajectories"], strict=True):
        thing = int(box_iou(facts["boxes"], box[None])[:, 0].argmax())
        torch.testing.assert_close(box, facts["boxes"][thing])
        torch.testing.assert_close(trajectory, wanted[thing], rtol=0, atol=0.75)
        compared.add(thing)
    assert compared == {0, 1, 2}


@pytest.mark.parametrize("content", [float("nan"), 1e5])
def test_boxes_of_an_object_that_has_left_do_not_count(tiny: Config, content: float) -> None:
    heads = make_heads(tiny(rois_per_image=512)).train()
    facts = target(*OBJECTS)
    facts["trajectory_valid"][0, 1:] = False
    results = []
    for _ in range(2):
        heads.zero_grad()
        loss = heads(features(images=1), [NEAR], SHAPES[:1], [facts])[1]["loss_trajectory"]
        loss.backward()
        results.append((loss.item(), heads.trajectory_head.fc_feature.weight.grad.clone()))
        facts["trajectories"][0, 1:] = content
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1]) and results[0][1].isfinite().all() and results[0][1].any()


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("class_agnostic", [True, False])
def test_images_without_positive_proposals_cost_nothing(tiny: Config, images: int, class_agnostic: bool) -> None:
    heads = make_heads(tiny(class_agnostic=class_agnostic)).train()
    _, losses = heads(features(images=images), [NEAR] * images, SHAPES[:images], [target()] * images)
    assert losses["loss_trajectory"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    for parameter in heads.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert heads.box_predictor.cls_score.weight.grad.any()  # the classifier still learns what background is


def test_the_keyframe_gradient_reaches_the_box_regression_on_demand(tiny: Config) -> None:
    for keyframe, wanted in (("predicted", True), ("detached", False), ("true", False)):
        heads = make_heads(tiny(rois_per_image=512, keyframe=keyframe)).train()
        loss = heads(features(images=1), [NEAR], SHAPES[:1], [target(*OBJECTS)])[1]["loss_trajectory"]
        (gradient,) = torch.autograd.grad(loss, heads.box_predictor.bbox_pred.weight, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) is wanted


def test_targets_that_do_not_fit_are_refused(tiny: Config) -> None:
    heads = make_heads(tiny()).train()

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
