"""The detector as a whole: torchvision's convention, image coordinates, and what a horizon adds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign, box_iou

from location_anticipation import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.model.backbones import build_backbone

pytestmark = pytest.mark.usefixtures("one_thread")
Config = Callable[..., DetectorConfig]
T = 3


def make_model(config: DetectorConfig) -> AnticipationRCNN:
    """A detector in eval mode that finds things in noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_detector(config).eval()
        torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        torch.nn.init.normal_(model.roi_heads.box_predictor.bbox_pred.weight, std=1)
    return model


def constant_offsets(model: AnticipationRCNN, raw: list[float]) -> None:
    """Make the trajectory head say ``raw`` for every step of every box."""
    head = model.roi_heads.trajectory_head
    assert head is not None
    torch.nn.init.zeros_(head.fc_out.weight)
    with torch.no_grad():
        head.fc_out.bias.copy_(torch.tensor(raw))


def noise(*sizes: tuple[int, int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


def target(*boxes: list[float], horizon: int = T) -> dict[str, Tensor]:
    key = torch.tensor(boxes).reshape(-1, 4)
    facts = {"boxes": key, "labels": torch.arange(len(key)) % 2 + 1}
    if horizon:
        facts["trajectories"] = key[:, None] + torch.arange(1, horizon + 1)[None, :, None]
        facts["trajectory_valid"] = torch.ones(len(key), horizon, dtype=torch.bool)
    return facts


def plain_faster_rcnn(config: DetectorConfig) -> FasterRCNN:
    """torchvision's detector of the same shape and rules, put together from its own parts alone."""
    anchors = AnchorGenerator(tuple((side,) for side in config.anchor_sizes), ((0.5, 1.0, 2.0),) * 5)
    return FasterRCNN(
        build_backbone(config),
        min_size=config.min_size,
        max_size=config.max_size,
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=config.proposals_train,
        rpn_post_nms_top_n_train=config.proposals_train,
        rpn_pre_nms_top_n_test=config.proposals_test,
        rpn_post_nms_top_n_test=config.proposals_test,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(config.channels * 49, config.representation),
        box_predictor=FastRCNNPredictor(config.representation, config.num_classes + 1),
        box_batch_size_per_image=config.rois_per_image,
    )


SIZES = ((48, 64), (37, 53), (80, 41))


def test_horizon_0_is_torchvisions_faster_rcnn(tiny: Config) -> None:
    config = tiny(horizon=0)
    model = make_model(config)
    assert model.horizon == 0
    plain = plain_faster_rcnn(config).eval()
    plain.load_state_dict(model.state_dict())
    images = noise(*SIZES)
    with torch.no_grad():
        for found, wanted in zip(model(images), plain(images), strict=True):
            assert set(found) == {"boxes", "labels", "scores"}
            assert len(wanted["boxes"]) > 3
            for name, value in wanted.items():
                assert torch.equal(found[name], value)
    targets = [target([2.0, 3, 20, 22], horizon=0), target(horizon=0), target([5.0, 5, 30, 35], horizon=0)]
    losses = []
    for detector in (model, plain):
        torch.manual_seed(3)
        losses.append({name: value.item() for name, value in detector.train()(images, targets).items()})
    assert losses[0] == losses[1]


@torch.no_grad()
def test_a_horizon_changes_no_detection(tiny: Config) -> None:
    model, plain = make_model(tiny()), make_model(tiny(horizon=0))
    plain.load_state_dict(model.state_dict(), strict=False)
    for found, wanted in zip(model(noise(*SIZES)), plain(noise(*SIZES)), strict=True):
        assert found["trajectories"].shape == (len(wanted["boxes"]), T, 4)
        for name, value in wanted.items():
            assert torch.equal(found[name], value)


@torch.no_grad()
def test_step_1_is_one_step_away_from_the_key_box(tiny: Config) -> None:
    # (The released code writes the key box over step 1.)
    model = make_model(tiny())
    constant_offsets(model, [1.0, -1.0, 0, 0])
    (found,) = model(noise((48, 64)))
    size = found["boxes"][:, 2:] - found["boxes"][:, :2]
    motion = torch.cat((size, size), dim=1) * torch.tensor([0.1, -0.1, 0.1, -0.1])  # over all T steps
    goal = found["boxes"] + motion
    inside = (goal >= 0).all(dim=1) & (goal <= torch.tensor([64.0, 48, 64, 48])).all(dim=1)
    assert inside.sum() > 2
    for step in range(T):
        moved = found["boxes"] + (step + 1) / T * motion
        assert (moved - found["boxes"]).abs().min() > 0.01
        torch.testing.assert_close(found["trajectories"][inside, step], moved[inside])


@torch.no_grad()
@pytest.mark.parametrize("size", [(48, 64), (37, 53), (81, 43), (100, 200)])
def test_boxes_and_trajectories_come_back_in_the_images_own_pixels(
    tiny: Config, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """A box that fills the network's image, without padding, must fill the image that was given."""
    model = make_model(tiny())

    def whole_image(_: Any, __: Any, shapes: list[tuple[int, int]], ___: Any) -> tuple[list[dict[str, Tensor]], dict]:
        results = []
        for height, width in shapes:
            boxes = torch.tensor([[0.0, 0, width, height], [width / 4, 0, width / 2, height]])
            facts = {"labels": torch.ones(2, dtype=torch.int64), "scores": torch.ones(2)}
            results.append({"boxes": boxes, "trajectories": boxes[:, None].repeat(1, T, 1), **facts})
        return results, {}

    monkeypatch.setattr(model.roi_heads, "forward", whole_image)
    found, _ = model(noise(size, (33, 40)))
    height, width = size
    expected = torch.tensor([[0.0, 0, width, height], [width / 4, 0, width / 2, height]])
    torch.testing.assert_close(found["boxes"], expected)
    torch.testing.assert_close(found["trajectories"], expected[:, None].repeat(1, T, 1))


@torch.no_grad()
@pytest.mark.parametrize("space", ["image", "coder"])
def test_trajectories_are_clipped_to_the_image(tiny: Config, space: str) -> None:
    model = make_model(tiny(space=space))
    sizes = ((37, 53), (80, 41))
    for raw in ([500.0, 500, 0, 0], [-500.0, -500, 0, 0], [-20.0, -20, 90, 90]):
        constant_offsets(model, raw)
        for found, (height, width) in zip(model(noise(*sizes)), sizes, strict=True):
            assert len(found["boxes"]) > 0
            limit = torch.tensor([width, height, width, height]) + 1e-4
            for boxes in (found["boxes"], found["trajectories"]):
                assert (boxes >= 0).all() and (boxes <= limit).all()
            assert (found["trajectories"][..., 2:] >= found["trajectories"][..., :2]).all()


@torch.no_grad()
def test_an_image_is_detected_the_same_alone_and_in_a_batch(tiny: Config) -> None:
    model = make_model(tiny())
    images = noise((48, 64), (48, 64))
    together = model(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = model([image])
        assert len(alone["boxes"]) == len(found["boxes"]) > 0
        torch.testing.assert_close(alone["trajectories"], found["trajectories"], rtol=1e-4, atol=1e-3)


def test_objects_that_leave_do_not_count_after_that(tiny: Config) -> None:
    model = make_model(tiny(rois_per_image=512)).train()
    facts, late = target([5.0, 5, 30, 30], [30.0, 10, 50, 40]), target([2.0, 2, 20, 20])
    facts["trajectory_valid"][0, 1:] = False  # leaves
    facts["trajectory_valid"][1] = torch.tensor([False, True, True])  # is hidden for a while
    results = []
    for content in (0.0, 1e4, float("nan")):
        facts["trajectories"][0, 1:] = facts["trajectories"][1, 0] = content
        model.zero_grad()
        torch.manual_seed(0)
        loss = model(noise((48, 64), (37, 53)), [facts, late])["loss_trajectory"]
        loss.backward()
        gradient = model.roi_heads.trajectory_head.fc_middle.weight.grad
        results.append((loss.item(), gradient.clone()))
    for loss, gradient in results:
        assert loss == results[0][0] > 0
        assert torch.equal(gradient, results[0][1]) and gradient.any()


@pytest.mark.parametrize("changes", [{"horizon": 0}, {}, {"class_agnostic": False}], ids=str)
def test_images_without_objects_train_the_background(tiny: Config, changes: dict[str, Any]) -> None:
    model = make_model(tiny(**changes)).train()
    nothing, one = (target(*boxes, horizon=model.horizon) for boxes in ([], [[2.0, 2, 20, 20]]))
    for targets in ([nothing], [nothing, nothing], [one, nothing]):
        model.zero_grad()
        losses = model(noise((48, 64), (37, 53))[: len(targets)], targets)
        assert ("loss_trajectory" in losses) == (model.horizon > 0)
        if model.horizon and targets[0] is nothing is targets[-1]:
            assert losses["loss_trajectory"].item() == 0
        assert all(value.isfinite() for value in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        assert model.rpn.head.cls_logits.weight.grad.any() and model.roi_heads.box_predictor.cls_score.weight.grad.any()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {"fpn": False, "anchor_sizes": (16, 32)},
        {"class_agnostic": False},
        {"space": "coder", "trajectory_features": "box_head"},
    ],
)
def test_variants_detect_and_learn(tiny: Config, changes: dict[str, Any]) -> None:
    model = make_model(tiny(**changes))
    with torch.no_grad():
        (found,) = model(noise((48, 64)))
    assert len(found["boxes"]) > 0 and found["trajectories"].shape == (len(found["boxes"]), T, 4)
    losses = model.train()(noise((48, 64), (40, 60)), [target([2.0, 2, 20, 20])] * 2)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_same_seed_same_numbers(tiny: Config) -> None:
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build_detector(tiny()).train()
        losses = model(noise((48, 64), (37, 53)), [target([2.0, 2, 20, 20])] * 2)
        results.append([value.item() for value in losses.values()])
    assert results[0] == results[1] != results[2]


@torch.no_grad()
def test_under_autocast_boxes_are_float32_and_close(tiny: Config) -> None:
    model = make_model(tiny())
    (exact,) = model(noise((48, 64)))
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = model(noise((48, 64)))
    assert found["boxes"].dtype == found["trajectories"].dtype == found["scores"].dtype == torch.float32
    # The best detection is there again, though detections may change places in the ranking.
    overlaps = box_iou(exact["boxes"][:1], found["boxes"])[0]
    assert overlaps.max() > 0.8
    torch.testing.assert_close(found["trajectories"][overlaps.argmax()], exact["trajectories"][0], rtol=0, atol=3.0)


def test_rpn_outputs_are_float32_under_autocast(tiny: Config) -> None:
    head = make_model(tiny()).rpn.head
    maps = [torch.rand(1, 32, 8, 8), torch.rand(1, 32, 4, 4)]
    with torch.autocast("cpu", torch.bfloat16):
        assert head.conv(maps[0]).dtype == torch.bfloat16
        outputs = head(maps)
    assert all(level.dtype == torch.float32 for part in outputs for level in part)
