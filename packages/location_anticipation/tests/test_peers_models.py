"""DFF, FGFA and SELSA: limiting cases, plain references, and streams that equal the whole video at once."""

import gc
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from location_anticipation import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.peers import CLIP_METHODS, PeerConfig, build_peer, video_method
from location_anticipation.peers.base import ClipDetector
from location_anticipation.peers.dff import DeepFeatureFlow
from location_anticipation.peers.fgfa import FlowGuidedAggregation, aggregate
from location_anticipation.peers.flownet import half_size
from location_anticipation.peers.selsa import SemanticAggregation, SemanticsAggregator, spread_references
from location_anticipation.peers.warp import flow_for, resize_map, warp

pytestmark = pytest.mark.usefixtures("one_thread")
Config = Callable[..., DetectorConfig]
Peer = Callable[..., PeerConfig]


@pytest.fixture
def peer(tiny: Config) -> Peer:
    def config(method: str, fpn: bool = True, **changes: Any) -> PeerConfig:
        small: dict[str, Any] = {
            "keyframe_step": 3, "window": 2, "references": 3, "flow_width": 0.1, "embedding_width": 0.05,
            "attention_heads": 4,
        }  # fmt: skip
        return PeerConfig(method, tiny(horizon=0, fpn=fpn), **small | changes)

    return config


def build(config: PeerConfig, flow: float = 0.3) -> Any:
    """A network in eval mode that finds things in noise, and whose flow is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_peer(config).eval()
        nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        nn.init.normal_(model.roi_heads.box_predictor.bbox_pred.weight, std=0.3)
        if hasattr(model, "flow") and flow:
            nn.init.normal_(model.flow.flow.weight, std=flow)
        if isinstance(model, DeepFeatureFlow) and flow:
            nn.init.normal_(model.scale.weight, std=0.1)
    return model


def plain(model: ClipDetector) -> AnticipationRCNN:
    """The detector of single frames with the same weights."""
    with torch.random.fork_rng():
        single = build_detector(model.config).eval()
    missing, _ = single.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    return single


def video(frames: int, size: tuple[int, int] = (48, 64)) -> list[Tensor]:
    """Smooth noise that moves."""
    generator = torch.Generator().manual_seed(1)
    scene = nn.functional.interpolate(torch.rand(1, 3, 20, 40, generator=generator), (160, 320), mode="bicubic")[0]
    return [scene[:, t : t + size[0], 3 * t : 3 * t + size[1]].clamp(0, 1) for t in range(frames)]


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


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
@pytest.mark.parametrize("method", ["dff", "fgfa"])
def test_a_frame_alone_is_detected_as_by_the_plain_detector(peer: Peer, method: str, fpn: bool) -> None:
    model = build(peer(method, fpn))
    frame = video(1)[0]
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


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
@pytest.mark.parametrize("method", CLIP_METHODS)
def test_a_stream_equals_the_whole_video_at_once(peer: Peer, method: str, fpn: bool) -> None:
    config = peer(method, fpn)
    model = build(config)
    frames = video(6, (45, 70))  # resized and padded on the way
    results = list(video_method(config, model)(frames))
    assert [result.index for result in results] == list(range(6))
    for result, expected in zip(results, naive(config, model, frames), strict=True):
        same({"boxes": result.boxes, "labels": result.labels, "scores": result.scores}, expected)
    differs = [not torch.equal(a.boxes, b.boxes) for a, b in zip(results[1:], results[:-1], strict=True)]
    assert all(differs)


@pytest.mark.parametrize("method", CLIP_METHODS)
@pytest.mark.parametrize("frames", [0, 1, 3])
def test_streams_shorter_than_the_window(peer: Peer, method: str, frames: int) -> None:
    config = peer(method, window=4)
    model = build(config)
    results = list(video_method(config, model)(video(frames)))
    for result, expected in zip(results, naive(config, model, video(frames)), strict=True):
        same({"boxes": result.boxes, "labels": result.labels, "scores": result.scores}, expected)


@pytest.mark.parametrize("method", CLIP_METHODS)
def test_results_come_as_soon_as_they_can_and_memory_is_bounded(peer: Peer, method: str) -> None:
    config = peer(method, fpn=False, window=1, references=3)
    taken: list[int] = []

    def stream() -> Iterator[Tensor]:
        for t in range(16):
            taken.append(t)
            yield video(1)[0]

    late = 0 if method == "dff" else 1
    alive = []
    for result in video_method(config, build(config))(stream()):
        assert taken[-1] == min(result.index + late, 15)
        assert not result.boxes.requires_grad and not result.boxes.is_inference()
        if result.index in (5, 11):
            gc.collect()
            alive.append(sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()))
    assert len(set(alive)) == 1, alive


@pytest.mark.parametrize("method", CLIP_METHODS)
def test_the_model_is_as_it_was_whenever_the_caller_has_control(peer: Peer, method: str) -> None:
    config = peer(method)
    model = build(config).train()
    model.backbone.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in video_method(config, model)(video(4)):
        assert model.training and model.rpn.training and not model.backbone.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", ["dff", "fgfa"])
def test_a_change_of_size_in_the_stream_is_refused(peer: Peer, method: str) -> None:
    config = peer(method)
    frames = [*video(1), video(1, (64, 48))[0]]
    with pytest.raises(ValueError, match="frame 1 "):
        list(video_method(config, build(config))(frames))


def test_calls_that_make_no_sense_are_refused(peer: Peer) -> None:
    model = build(peer("dff"))
    frames = torch.stack(video(3))
    with pytest.raises(ValueError, match="same number of frames, got \\[2, 3\\]"):
        model([frames, frames[:2]])
    with pytest.raises(ValueError, match="current frame and its keyframe, got 3 frames"):
        model([frames])
    with pytest.raises(ValueError, match="targets are needed"):
        model.train()([frames[:2]])
    with pytest.raises(ValueError, match="'fgfa' cannot run on a network of dff"):
        video_method(peer("fgfa"), model)
    with pytest.raises(ValueError, match="'per_frame' cannot run on a network of dff"):
        video_method(peer("per_frame"), model)
    with pytest.raises(ValueError, match="'dff' cannot run on a network of single frames"):
        video_method(peer("dff"), plain(model))


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
@pytest.mark.parametrize("method", CLIP_METHODS)
def test_gradients_reach_every_part(peer: Peer, method: str, fpn: bool) -> None:
    model = build(peer(method, fpn), flow=0.02).train()
    frames = torch.stack(video(2 if method == "dff" else 3))
    target = {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])}
    torch.manual_seed(0)
    losses = model([frames, frames.flip(0)], [target, target])
    assert list(losses) == ["loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"]
    torch.stack(list(losses.values())).sum().backward()
    without = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    # The softmax of attention does not change when every key moves by the same.
    assert {name for name in without if not name.endswith("key.bias")} == set()


# Deep Feature Flow


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
def test_dff_without_flow_and_scale_copies_the_key_features(peer: Peer, fpn: bool) -> None:
    model = build(peer("dff", fpn), flow=0)
    current, key = torch.stack(video(2))[:, None]
    with torch.no_grad():
        moved, expected = model.clip_features(current, [key]), model.frame_features(key)
    assert set(moved) == set(expected)
    for level, values in expected.items():
        torch.testing.assert_close(moved[level], values, atol=1e-5, rtol=1e-5)


def test_dff_warps_and_scales_every_level(peer: Peer) -> None:
    model = build(peer("dff"))
    current, key = torch.stack(video(2))[:, None]
    with torch.no_grad():
        moved, kept = model.clip_features(current, [key]), model.frame_features(key)
        flow, known = model.flow(half_size(current), half_size(key))
        scale = 1 + model.scale(known)
        for level, values in kept.items():
            size = tuple(values.shape[-2:])
            expected = warp(values, flow_for(flow, size)) * resize_map(scale, size)
            torch.testing.assert_close(moved[level], expected)
            assert not torch.allclose(moved[level], values, atol=1e-3)


def test_dff_takes_a_keyframe_as_it_is(peer: Peer) -> None:
    model = build(peer("dff"))
    frames = torch.stack(video(2))
    with torch.no_grad():
        features = model.clip_features(frames, [frames[:1].repeat(2, 1, 1, 1)])
        alone = model.frame_features(frames[:1].repeat(2, 1, 1, 1))
    for level, values in alone.items():
        assert torch.equal(features[level][0], values[0])
        assert not torch.equal(features[level][1], values[1])


# Flow-Guided Feature Aggregation


def test_fgfa_of_identical_frames_is_the_per_frame_detector(peer: Peer) -> None:
    model = build(peer("fgfa"), flow=0)
    frame = torch.stack(video(1))
    with torch.no_grad():
        aggregated, expected = model.clip_features(frame, [frame, frame]), model.frame_features(frame)
    for level, values in expected.items():
        torch.testing.assert_close(aggregated[level], values, atol=1e-5, rtol=1e-5)


def test_aggregation_against_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 2, 4, 2, 3, generator=generator)
    embeddings = torch.randn(3, 2, 5, 2, 3, generator=generator)
    found = aggregate(features, embeddings, embeddings[1])
    for b in range(2):
        for y in range(2):
            for x in range(3):
                own = embeddings[1, b, :, y, x]
                weights = []
                for j in range(3):
                    other = embeddings[j, b, :, y, x]
                    weights.append(math.exp(float(own @ other / (own.norm() * other.norm()))))
                expected = sum(w / sum(weights) * features[j, b, :, y, x] for j, w in enumerate(weights))
                torch.testing.assert_close(found[b, :, y, x], expected)


def test_fgfa_in_batches_is_fgfa_of_each(peer: Peer) -> None:
    model: FlowGuidedAggregation = build(peer("fgfa"))
    frames = torch.stack(video(6))
    with torch.no_grad():
        together = model.clip_features(frames[:2], [frames[2:4], frames[4:]])
        for b in range(2):
            alone = model.clip_features(frames[b : b + 1], [frames[2 + b : 3 + b], frames[4 + b : 5 + b]])
            for level, values in alone.items():
                torch.testing.assert_close(together[level][b : b + 1], values, atol=1e-4, rtol=1e-4)


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


def test_selsa_that_adds_nothing_is_the_plain_detector(peer: Peer) -> None:
    model: SemanticAggregation = build(peer("selsa"))
    for aggregator in (model.aggregator1, model.aggregator2):
        nn.init.zeros_(aggregator.out.weight)
        nn.init.zeros_(aggregator.out.bias)
    frames = video(3)
    with torch.no_grad():
        (found,), (expected,) = model([torch.stack(frames)]), plain(model)([frames[0]])
    same(found, expected)


def test_selsa_of_a_frame_alone_aggregates_over_its_own_proposals(peer: Peer) -> None:
    model: SemanticAggregation = build(peer("selsa"))
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


def test_selsa_references_do_not_touch_the_losses_of_the_proposals(peer: Peer) -> None:
    """Only the box head sees other frames: RPN losses are those of the current frame."""
    model = build(peer("selsa")).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    frames = torch.stack(video(3))
    target = {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])}
    losses = []
    for clip in (frames, frames[[0, 2, 2]]):
        torch.manual_seed(0)
        losses.append(model([clip], [target]))
    torch.testing.assert_close(losses[0]["loss_objectness"], losses[1]["loss_objectness"])
    torch.testing.assert_close(losses[0]["loss_rpn_box_reg"], losses[1]["loss_rpn_box_reg"])
    assert losses[0]["loss_classifier"] != losses[1]["loss_classifier"]
    assert model.rpn.training


def test_references_are_spread_evenly() -> None:
    assert spread_references(0, 10, 3) == [0, 5, 10]
    assert spread_references(4, 6, 14) == [4, 5, 6]
    assert spread_references(7, 7, 3) == [7]
    assert spread_references(0, 99, 4) == [0, 33, 66, 99]
