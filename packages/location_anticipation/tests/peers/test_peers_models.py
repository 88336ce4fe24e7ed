"""DFF, FGFA and SELSA: limiting cases, plain references, and streams that equal the whole video at once."""

import gc
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from location_anticipation import AnticipationRCNN, build_detector
from location_anticipation.peers import CLIP_METHODS, PeerConfig, video_method
from location_anticipation.peers.base import ClipDetector
from location_anticipation.peers.selsa import SemanticAggregation, SemanticsAggregator, spread_references

pytestmark = pytest.mark.usefixtures("one_thread")
FPN = pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
TARGET = {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])}


def plain(model: ClipDetector) -> AnticipationRCNN:
    """The detector of single frames with the same weights."""
    with torch.random.fork_rng():
        single = build_detector(model.config).eval()
    missing, _ = single.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    return single


def same(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-3) -> None:
    assert len(expected["boxes"]) > 3
    torch.testing.assert_close(found["labels"], expected["labels"])
    torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-4, rtol=0)
    torch.testing.assert_close(found["boxes"], expected["boxes"], atol=atol, rtol=0)


def visible(detection: dict[str, Tensor]) -> dict[str, Tensor]:
    boxes = detection["boxes"]
    rows = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return {name: values[rows] for name, values in detection.items()}


# All of them


@FPN
@pytest.mark.parametrize("method", ["dff", "fgfa"])
def test_a_frame_alone_is_detected_as_by_the_plain_detector(small: Any, method: str, fpn: bool) -> None:
    model = small.build(small.peer(method), fpn=fpn)
    frame = small.video(1)[0]
    with torch.no_grad():
        (found,), (expected,) = model([frame]), plain(model)([frame])
    same(found, expected, atol=1e-5)


def naive(config: PeerConfig, model: ClipDetector, frames: list[Tensor]) -> list[dict[str, Tensor]]:
    """Every frame as a clip of its own, with the whole video at hand."""
    results = []
    for t in range(len(frames)):
        first, last = max(0, t - config.window), min(len(frames) - 1, t + config.window)
        if config.method == "dff":
            others = [t - t % config.keyframe_step]
        elif config.method == "fgfa":
            others = [i for i in range(first, last + 1) if i != t]
        else:
            others = [i for i in spread_references(first, last, config.references) if i != t]
        with torch.no_grad():
            results.append(visible(model([torch.stack([frames[i] for i in (t, *others)])])[0]))
    return results


@pytest.mark.parametrize(
    ("frames", "window", "fpn"), [(0, 4, True), (1, 4, True), (3, 4, True), (6, 2, True), (6, 2, False)]
)
@pytest.mark.parametrize("method", CLIP_METHODS)
def test_a_stream_equals_the_whole_video_at_once(small: Any, method: str, frames: int, window: int, fpn: bool) -> None:
    config = small.peer(method, window=window)
    model = small.build(config, fpn=fpn)
    images = small.video(frames, (45, 70))  # resized and padded on the way
    results = list(video_method(config, model)(images))
    assert [result.index for result in results] == list(range(frames))
    for result, expected in zip(results, naive(config, model, images), strict=True):
        same({"boxes": result.boxes, "labels": result.labels, "scores": result.scores}, expected)
    assert all(not torch.equal(a.boxes, b.boxes) for a, b in zip(results[1:], results[:-1], strict=True))


@pytest.mark.parametrize("method", CLIP_METHODS)
def test_results_come_as_soon_as_they_can_and_memory_is_bounded(small: Any, method: str) -> None:
    config = small.peer(method, window=1, references=3)
    taken: list[int] = []

    def stream() -> Iterator[Tensor]:
        for t in range(16):
            taken.append(t)
            yield small.video(1)[0]

    late = 0 if method == "dff" else 1
    alive = []
    for result in video_method(config, small.build(config, fpn=False))(stream()):
        assert taken[-1] == min(result.index + late, 15)
        assert not result.boxes.requires_grad and not result.boxes.is_inference()
        if result.index in (5, 11):
            gc.collect()
            alive.append(sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()))
    assert len(set(alive)) == 1, alive


@pytest.mark.parametrize("method", CLIP_METHODS)
def test_the_model_is_as_it_was_whenever_the_caller_has_control(small: Any, method: str) -> None:
    config = small.peer(method)
    model = small.build(config).train()
    model.backbone.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in video_method(config, model)(small.video(4)):
        assert model.training and model.rpn.training and not model.backbone.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", ["dff", "fgfa"])
def test_a_change_of_size_in_the_stream_is_refused(small: Any, method: str) -> None:
    config = small.peer(method)
    frames = [*small.video(1), small.video(1, (64, 48))[0]]
    with pytest.raises(ValueError, match="frame 1 "):
        list(video_method(config, small.build(config))(frames))


def test_calls_that_make_no_sense_are_refused(small: Any) -> None:
    model = small.build(small.peer("dff"))
    frames = torch.stack(small.video(3))
    with pytest.raises(ValueError, match="same number of frames, got \\[2, 3\\]"):
        model([frames, frames[:2]])
    with pytest.raises(ValueError, match="current frame and its keyframe, got 3 frames"):
        model([frames])
    with pytest.raises(ValueError, match="targets are needed"):
        model.train()([frames[:2]])
    for method, network, kind in (
        ("fgfa", model, "dff"),
        ("per_frame", model, "dff"),
        ("dff", plain(model), "single frames"),
    ):
        with pytest.raises(ValueError, match=f"'{method}' cannot run on a network of {kind}"):
            video_method(small.peer(method), network)


@FPN
@pytest.mark.parametrize("method", CLIP_METHODS)
def test_gradients_reach_every_part(small: Any, method: str, fpn: bool) -> None:
    model = small.build(small.peer(method), flow=0.02, fpn=fpn).train()
    frames = torch.stack(small.video(2 if method == "dff" else 3))
    torch.manual_seed(0)
    losses = model([frames, frames.flip(0)], [TARGET, TARGET])
    assert list(losses) == ["loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"]
    torch.stack(list(losses.values())).sum().backward()
    without = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    # The softmax of attention does not change when every key moves by the same.
    assert {name for name in without if not name.endswith("key.bias")} == set()


# Sequence Level Semantics Aggregation


def test_semantics_aggregation_against_plain_loops() -> None:
    torch.manual_seed(0)
    width, heads, group = 12, 3, 4
    module = SemanticsAggregator(width, heads)
    proposals, references = torch.randn(5, width), torch.randn(7, width)
    with torch.no_grad():
        found = module(proposals, *module.keys_values(references))
        queries, keys, values = module.query(proposals), module.key(references), module.value(references)
        for i in range(5):
            gathered = torch.zeros(width)
            for h in range(heads):
                part = slice(h * group, (h + 1) * group)
                weights = [math.exp(float(queries[i, part] @ keys[j, part]) / math.sqrt(group)) for j in range(7)]
                for j, weight in enumerate(weights):
                    gathered[part] += weight / sum(weights) * values[j, part]
            torch.testing.assert_close(found[i], proposals[i] + module.out(gathered))


def test_a_single_reference_is_taken_whole_and_none_to_ask_is_no_matter() -> None:
    module = SemanticsAggregator(8, 2)
    proposals, reference = torch.randn(3, 8), torch.randn(1, 8)
    with torch.no_grad():
        found = module(proposals, *module.keys_values(reference))
        torch.testing.assert_close(found, proposals + module.out(module.value(reference)))
        assert module(proposals[:0], *module.keys_values(reference)).shape == (0, 8)


def test_selsa_that_adds_nothing_is_the_plain_detector(small: Any) -> None:
    model: SemanticAggregation = small.build(small.peer("selsa"))
    for aggregator in (model.aggregator1, model.aggregator2):
        nn.init.zeros_(aggregator.out.weight)
        nn.init.zeros_(aggregator.out.bias)
    frames = small.video(3)
    with torch.no_grad():
        (found,), (expected,) = model([torch.stack(frames)]), plain(model)([frames[0]])
    same(found, expected)


def test_selsa_of_a_frame_alone_aggregates_over_its_own_proposals(small: Any) -> None:
    model: SemanticAggregation = small.build(small.peer("selsa"))
    head, pooled = model.roi_heads.box_head, torch.rand(6, 32, 7, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = model.describe(pooled)
        found = model.enhance(own, [own])
        first = head.fc6(pooled.flatten(1))
        x = torch.relu(model.aggregator1(first, *model.aggregator1.keys_values(first)))
        second = head.fc7(torch.relu(first))
        expected = torch.relu(model.aggregator2(head.fc7(x), *model.aggregator2.keys_values(second)))
        torch.testing.assert_close(found, expected)
        other = model.enhance(own, [own, model.describe(pooled.flip(1))])
    assert not torch.allclose(other, found, atol=1e-4)


def test_selsa_references_do_not_touch_the_losses_of_the_proposals(small: Any) -> None:
    """Only the box head sees other frames: RPN losses are those of the current frame."""
    model = small.build(small.peer("selsa")).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    frames = torch.stack(small.video(3))
    losses = []
    for clip in (frames, frames[[0, 2, 2]]):
        torch.manual_seed(0)
        losses.append(model([clip], [TARGET]))
    torch.testing.assert_close(losses[0]["loss_objectness"], losses[1]["loss_objectness"])
    torch.testing.assert_close(losses[0]["loss_rpn_box_reg"], losses[1]["loss_rpn_box_reg"])
    assert losses[0]["loss_classifier"] != losses[1]["loss_classifier"]
    assert model.rpn.training


def test_references_are_spread_evenly() -> None:
    assert spread_references(0, 10, 3) == [0, 5, 10]
    assert spread_references(4, 6, 14) == [4, 5, 6]
    assert spread_references(7, 7, 3) == [7]
    assert spread_references(0, 99, 4) == [0, 33, 66, 99]
