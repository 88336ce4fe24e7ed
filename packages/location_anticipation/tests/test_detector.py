"""The detector: torchvision's numbers where it is torchvision's, and none of the released code's defects."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models import get_model_weights
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads

from location_anticipation import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.backbones import BACKBONES, C5Backbone, build_backbone, load_backbone_weights

Tiny = Callable[..., DetectorConfig]


def detector(config: DetectorConfig, seed: int = 0) -> AnticipationRCNN:
    """An untrained detector that finds many boxes."""
    torch.manual_seed(seed)
    model = build_detector(config).eval()
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2.0)
    if model.roi_heads.trajectory_head is not None:
        torch.nn.init.normal_(model.roi_heads.trajectory_head.fc_out.weight, std=2.0)
    return model


def target(boxes: list[list[float]], labels: list[int], horizon: int, shift: float = 1.0) -> dict[str, Tensor]:
    start = torch.tensor(boxes).reshape(-1, 4)
    steps = torch.arange(1, horizon + 1)[None, :, None] * shift
    return {
        "boxes": start,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "trajectories": start[:, None] + steps,
        "trajectory_valid": torch.ones(len(boxes), horizon, dtype=torch.bool),
    }


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(3, h, w, generator=generator) for h, w in sizes]


def test_detections_are_torchvisions_own(tiny: Tiny) -> None:
    """Selection of boxes equals RoIHeads.postprocess_detections, on several images of different sizes."""
    model = detector(tiny(score_threshold=0.05, detections_per_image=15))
    heads = model.roi_heads
    torch.manual_seed(1)
    logits, deltas = torch.randn(50, 3) * 2, torch.randn(50, 12)
    corner = torch.rand(50, 2) * 40
    proposals = list(torch.cat((corner, corner + 5 + torch.rand(50, 2) * 30), dim=1).split([20, 0, 30]))
    sizes = [(64, 60), (64, 64), (40, 64)]
    expected = RoIHeads.postprocess_detections(heads, logits, deltas, proposals, sizes)
    known = torch.rand(50, 16 * 49)
    found = heads._detections(known, logits, deltas, proposals, sizes)
    assert sum(len(boxes) for boxes in expected[0]) > 20
    for got, boxes, scores, labels in zip(found, *expected, strict=True):
        torch.testing.assert_close(got["boxes"], boxes)
        torch.testing.assert_close(got["scores"], scores)
        assert torch.equal(got["labels"], labels)
        assert got["trajectories"].shape == (len(boxes), 3, 4)


def test_without_a_horizon_it_is_torchvisions_detector(tiny: Tiny) -> None:
    model = detector(tiny(horizon=0, score_threshold=0.0))
    plain = FasterRCNN(
        build_backbone("resnet18", fpn=True, out_channels=16), min_size=64, max_size=64,
        rpn_anchor_generator=model.rpn.anchor_generator, rpn_pre_nms_top_n_test=30, rpn_post_nms_top_n_test=30,
        box_score_thresh=0.0,
        box_head=model.roi_heads.box_head, box_predictor=model.roi_heads.box_predictor,
    ).eval()  # fmt: skip
    plain.load_state_dict(model.state_dict())
    for ours, theirs in zip(model(images((64, 50), (30, 64))), plain(images((64, 50), (30, 64))), strict=True):
        assert set(ours) == {"boxes", "labels", "scores"} and len(theirs["boxes"]) > 3
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key])


def test_the_losses_of_the_boxes_are_torchvisions(tiny: Tiny) -> None:
    """With torchvision's beta, adding a trajectory head changes neither classification nor box loss."""
    config = tiny()
    model = detector(config).train()
    plain = FasterRCNN(
        build_backbone("resnet18", fpn=True, out_channels=16), min_size=64, max_size=64,
        rpn_anchor_generator=model.rpn.anchor_generator, rpn_pre_nms_top_n_train=50, rpn_post_nms_top_n_train=50,
        box_batch_size_per_image=16, box_head=model.roi_heads.box_head, box_predictor=model.roi_heads.box_predictor,
    ).train()  # fmt: skip
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "trajectory_head" not in k})
    losses = []
    for network in (model, plain):
        torch.manual_seed(2)
        losses.append(network(images((64, 64), (50, 64)), [target([[5, 5, 30, 30]], [1], 3), target([], [], 3)]))
    assert set(losses[0]) - set(losses[1]) == {"loss_trajectory"}
    for name, value in losses[1].items():
        torch.testing.assert_close(losses[0][name], value)


@pytest.mark.parametrize("features", ["pooled", "box_head"])
@pytest.mark.parametrize("agnostic", [True, False])
def test_trajectories_belong_to_the_boxes_they_start_from(tiny: Tiny, agnostic: bool, features: str) -> None:
    """Recomputed box by box with the plain head; and the head sees no box that NMS has dropped."""
    model = detector(
        tiny(class_agnostic=agnostic, trajectory_features=features, detections_per_image=7, score_threshold=0.0)
    )
    heads, head = model.roi_heads, model.roi_heads.trajectory_head
    seen: list[tuple[Tensor, Tensor]] = []
    head.register_forward_hook(lambda module, given, out: seen.append(given))
    sizes = [(64, 64), (48, 64)]
    found = model(images(*sizes))
    assert len(seen) == 1, "one call for all images"
    known, boxes = seen[0]
    counts = [len(detection["boxes"]) for detection in found]
    assert sum(counts) == len(known) == len(boxes) and min(counts) > 0 and max(counts) <= 7
    row = 0
    for detection, (height, width) in zip(found, sizes, strict=True):
        for box, label, trajectory in zip(
            detection["boxes"], detection["labels"], detection["trajectories"], strict=True
        ):
            x1, y1, x2, y2 = box.tolist()
            relative = torch.tensor([[x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]])
            torch.testing.assert_close(boxes[row : row + 1], relative)
            raw = head.forward_plain(known[row : row + 1], relative)
            raw = raw if agnostic else raw[:, :, int(label) - 1]
            expected = heads.criterion.decode(box[None], raw)[0]
            expected[:, 0::2].clamp_(0, width)
            expected[:, 1::2].clamp_(0, height)
            torch.testing.assert_close(trajectory, expected, atol=1e-3, rtol=1e-3)
            row += 1


def test_step_one_is_not_the_keyframe_box(tiny: Tiny) -> None:
    """The released code overwrites frame t+1 with the keyframe's box."""
    (found,) = detector(tiny(score_threshold=0.0))(images((64, 64)))
    assert (found["trajectories"][:, 0] - found["boxes"]).abs().max() > 0.1
    assert (found["trajectories"][:, 1] - found["trajectories"][:, 0]).abs().max() > 0.1


def test_trajectories_are_clipped_to_the_image(tiny: Tiny) -> None:
    """The released code does not clip anticipated boxes."""
    model = detector(tiny(score_threshold=0.0))
    torch.nn.init.constant_(model.roi_heads.trajectory_head.fc_out.bias, 50.0)
    for detection, (height, width) in zip(model(images((64, 40), (30, 64))), [(64, 40), (30, 64)], strict=True):
        boxes = detection["trajectories"].detach()
        assert len(boxes) and boxes.min() >= 0
        assert boxes[..., 0::2].max() <= width + 1e-3 and boxes[..., 1::2].max() <= height + 1e-3
        assert boxes[..., 2].max() == pytest.approx(width, abs=1e-3), "the bias drives them over the border"


def test_padding_does_not_move_boxes(tiny: Tiny) -> None:
    """The released code scales boxes back by the padded size: 750 rows padded to 768 shift every box by 2.3 %."""
    model = detector(tiny(min_size=60, max_size=90, horizon=2))
    given = {"boxes": torch.tensor([[3.0, 5.0, 70.0, 40.0]]), "trajectories": torch.rand(1, 2, 4) * 30}
    size = (45, 77)  # neither it nor its resized form is divisible by 32
    batch, targets = model.transform(images(size), [dict(given)])
    assert targets is not None
    new = batch.image_sizes[0]
    assert batch.tensors.shape[-2:] != new, "there is padding"
    scale = torch.tensor([new[1] / size[1], new[0] / size[0]] * 2)
    torch.testing.assert_close(targets[0]["trajectories"], given["trajectories"] * scale)
    (back,) = model.transform.postprocess([targets[0]], batch.image_sizes, [size])
    torch.testing.assert_close(back["boxes"], given["boxes"])
    torch.testing.assert_close(back["trajectories"], given["trajectories"])


def trajectory_loss_of(model: AnticipationRCNN, *targets: dict[str, Tensor]) -> Tensor:
    torch.manual_seed(4)
    loss: Tensor = model.train()(images(*[(64, 64)] * len(targets)), list(targets))["loss_trajectory"]
    return loss


def test_each_object_has_its_own_trajectory(tiny: Tiny) -> None:
    """The released code finds future boxes by list position; here the order of objects does not matter."""
    model = detector(tiny(keyframe="true"))
    boxes, labels = [[2.0, 2, 20, 20], [30, 30, 60, 60], [5, 35, 25, 60]], [1, 2, 1]
    one = target(boxes, labels, 3)
    one["trajectories"] += torch.tensor([0.0, 5.0, -3.0])[:, None, None]
    one["trajectory_valid"][1, 1:] = False
    order = torch.tensor([2, 0, 1])
    other = {name: value[order] for name, value in one.items()}
    heads = model.roi_heads
    proposals, known = [one["boxes"] + 0.5], torch.rand(3, 16 * 49)

    def loss(given: dict[str, Tensor]) -> Tensor:
        # what select_training_samples makes of proposals that cover the three objects in their first order
        matched = torch.stack([(given["boxes"] == box).all(1).nonzero()[0, 0] for box in one["boxes"]])
        return heads._trajectory_loss(
            known, torch.zeros(3, 12), proposals, [matched], [given["labels"][matched]], [(64, 64)], [given]
        )

    torch.testing.assert_close(loss(one), loss(other))
    wrong = dict(one, trajectories=one["trajectories"][order])
    assert (loss(one) - loss(wrong)).abs() > 0.1


def test_the_trajectory_loss_of_a_case_by_hand(tiny: Tiny) -> None:
    """One positive among two samples, an object that moves 2 px a step, an untrained head that anticipates no motion."""
    model = detector(tiny(keyframe="true", trajectory_weight=0.5, loss="traj"))
    torch.nn.init.zeros_(model.roi_heads.trajectory_head.fc_out.weight)
    given = target([[10.0, 10, 30, 30]], [2], 3, shift=2.0)
    given["trajectory_valid"][0, 2] = False  # it leaves after step 2
    loss = model.roi_heads._trajectory_loss(
        torch.rand(2, 16 * 49), torch.zeros(2, 12), [given["boxes"].repeat(2, 1)],
        [torch.zeros(2, dtype=torch.int64)], [torch.tensor([2, 0])], [(64, 64)], [given],
    )  # fmt: skip
    # x and y are off by 2 and 4 px: smooth L1 1.5 and 3.5 cumulated; each offset by 2 px: 1.5 and 1.5
    assert loss.item() == pytest.approx(0.5 * 2 * (1.5 + 3.5 + 1.5 + 1.5) / 2)


def test_images_without_objects_train_too(tiny: Tiny) -> None:
    model = detector(tiny())
    loss = trajectory_loss_of(model, target([], [], 3), target([[5.0, 5, 30, 30]], [1], 3))
    assert torch.isfinite(loss) and loss > 0
    assert trajectory_loss_of(model, target([], [], 3)) == 0


def test_wrong_targets_are_named(tiny: Tiny) -> None:
    model = detector(tiny()).train()
    with pytest.raises(ValueError, match=r"trajectories \(N, 3, 4\)"):
        model(images((64, 64)), [target([[5.0, 5, 30, 30]], [1], 2)])


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_can_be_built(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, fpn=True, out_channels=32)
        assert isinstance(build_backbone(name, fpn=False, out_channels=32), C5Backbone)
    assert backbone.out_channels == 32


def test_feature_maps_of_both_kinds() -> None:
    with torch.no_grad():
        pyramid = build_backbone("resnet18", fpn=True, out_channels=8)(torch.rand(1, 3, 64, 96))
        c5 = build_backbone("resnet18", fpn=False, out_channels=8)(torch.rand(1, 3, 64, 96))
    assert {k: tuple(v.shape[1:]) for k, v in pyramid.items()} == {
        "0": (8, 16, 24), "1": (8, 8, 12), "2": (8, 4, 6), "3": (8, 2, 3), "pool": (8, 1, 2)
    }  # fmt: skip
    assert {k: tuple(v.shape[1:]) for k, v in c5.items()} == {"0": (8, 2, 3)}


def test_a_c5_detector_works(tiny: Tiny) -> None:
    (found,) = detector(tiny(fpn=False, anchor_sizes=(16, 32), score_threshold=0.0))(images((64, 64)))
    assert found["trajectories"].shape == (len(found["boxes"]), 3, 4) and len(found["boxes"])


def test_trainable_stages() -> None:
    backbone = build_backbone("resnet18", fpn=True, out_channels=8, trainable_stages=2)
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad and "body" in name}
    assert trained == {"layer3", "layer4"}


def test_pretrained_weights_reach_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's weights by name, without the download."""
    state = {k: torch.full_like(v, 2) for k, v in build_classifier().state_dict().items()}
    weights = get_model_weights("resnet18")
    monkeypatch.setattr(weights.__mro__[1], "get_state_dict", lambda self, **options: state)
    for fpn in (True, False):
        backbone = build_backbone("resnet18", fpn=fpn, out_channels=8)
        load_backbone_weights(backbone, "resnet18", "IMAGENET1K_V1")
        loaded = {**dict(backbone.body.named_parameters()), **dict(backbone.body.named_buffers())}
        assert len(loaded) > 60 and all((value == 2).all() for value in loaded.values())
    with pytest.raises(ValueError, match="IMAGENET1K_V1"):
        load_backbone_weights(backbone, "resnet18", "IMAGENET99")


def build_classifier() -> torch.nn.Module:
    from torchvision.models import resnet18

    return resnet18(weights=None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"horizon": -1}, "horizon"),
        ({"num_classes": 0}, "num_classes"),
        ({"backbone": "vgg16"}, "resnet18"),
        ({"anchor_sizes": (32,)}, "five"),
        ({"loss": "giou"}, "giou"),
        ({"trajectory_features": "pixels"}, "pooled"),
    ],
)
def test_wrong_configurations(tiny: Tiny, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**wrong)
