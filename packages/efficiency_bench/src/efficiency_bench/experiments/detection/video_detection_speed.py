"""Speed, multiply-adds and memory of detection in video: location anticipation and its peers (table 2.4, figure 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.experiments.detection.annotated_videos import check_step
from efficiency_bench.records.run_record import Metric
from location_anticipation import DetectorConfig
from location_anticipation.peers import Method, PeerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from location_anticipation import AnticipationRCNN


@dataclass(frozen=True)
class Settings:
    """The thesis's setting is the default: Faster R-CNN on the last stage (C5) of a ResNet-101, frames of 600x1000, batch 1."""

    detector: DetectorConfig = field(
        default_factory=lambda: DetectorConfig(num_classes=30, horizon=16, fpn=False, proposals_test=300)
    )
    """The detector that anticipates; without trajectory head it is the per-frame detector."""
    height: int = 600
    """Height of a frame in pixels."""
    width: int = 1000
    """Width of a frame in pixels."""
    keyframe_steps: tuple[int, ...] = (2, 4, 8, 16)
    """Frames from one keyframe to the next, each timed as a candidate of its own."""
    peers: tuple[Method, ...] = ("key_boxes_copied", "constant_velocity", "interpolation", "dff", "fgfa", "selsa")
    """Methods that are timed with it (`location_anticipation.peers`)."""
    peer: PeerConfig = field(default_factory=lambda: PeerConfig(keyframe_step=4))
    """Rules of the peers; their `keyframe_step` is the thesis's own T in table 2.4."""
    rounds: int = 20
    """Rounds of the interleaved timing in any case."""
    most_rounds: int = 60
    """Rounds at most, where the interval of a speed-up is still wide."""
    warmup: int = 2
    """Untimed calls of each candidate before."""

    def __post_init__(self) -> None:
        for step in self.keyframe_steps:
            check_step("keyframe_steps", step, self.detector.horizon)
        for name in self.peers:
            replace(self.peer, method=name)


def detectors(settings: Settings, seed: int) -> tuple[AnticipationRCNN, AnticipationRCNN]:
    """The per-frame detector and the same one, sharing every weight, with a trajectory head.

    Speed depends on the number of boxes, not on what was learned. Untrained weights would find none, so batch normalisation
    is calibrated on one frame and the classifier is biased towards one class: all proposals pass the score threshold and NMS
    leaves as many boxes as a frame may have, or nearly as many. For the trajectory head this is the worst case.
    """
    import torch
    from torch import nn

    from location_anticipation import build_detector

    torch.manual_seed(seed)
    anticipating = build_detector(settings.detector)
    norms = [module for module in anticipating.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        anticipating.backbone.train()(torch.randn(1, 3, settings.height // 2, settings.width // 2))
        anticipating.roi_heads.box_predictor.cls_score.bias[1] = 8.0
    for norm in norms:
        norm.momentum = 0.1
    plain = build_detector(replace(settings.detector, horizon=0))
    shared = {key: value for key, value in anticipating.state_dict().items() if "trajectory_head" not in key}
    plain.load_state_dict(shared)
    return plain.eval(), anticipating.eval()


def peer_network(peer: PeerConfig, plain: AnticipationRCNN) -> AnticipationRCNN:
    """The network of a peer, with the per-frame detector's weights in all that they share and random ones elsewhere."""
    from location_anticipation.peers import CLIP_METHODS, build_peer

    if peer.method not in CLIP_METHODS:
        return plain
    model = build_peer(plain.config, peer)
    _, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    if unexpected:
        raise ValueError(f"{peer.method} lacks parts of the detector it is built on: {', '.join(unexpected)}")
    return model.eval()


def run(settings: Settings, context: Context) -> Outcome:
    """Time all methods on random frames, count their multiply-adds and their memory."""
    import torch

    from efficiency_bench.measure.flops import count_macs, cross_check
    from efficiency_bench.measure.speed import interleave, protocol, ratio
    from location_anticipation import VideoDetector
    from location_anticipation.peers import video_method

    plain, anticipating = (model.to(context.device) for model in detectors(settings, context.seed))
    generator = torch.Generator().manual_seed(context.seed)
    frames = torch.rand(4, 3, settings.height, settings.width, generator=generator)
    clip = list(frames.to(context.device))

    candidates: dict[str, Callable[[], object]] = {"per_frame": _frames_of(VideoDetector(plain, 1), clip, 1, 0)}
    units = {"per_frame": 1}
    for step in settings.keyframe_steps:
        candidates[f"step{step}"] = _frames_of(VideoDetector(anticipating, step), clip, step, 0)
        units[f"step{step}"] = step
    networks: dict[str, AnticipationRCNN] = {}
    for method in settings.peers:
        peer = replace(settings.peer, method=method)
        networks[method] = peer_network(peer, plain).to(context.device)
        covered = 1 if method in ("fgfa", "selsa") else peer.keyframe_step
        # A method that looks ahead or back is in its steady state when its window is full.
        full = 2 * peer.window + 1 if covered == 1 else 2 * peer.keyframe_step
        candidates[method] = _frames_of(video_method(peer, networks[method]), clip, covered, full)
        units[method] = covered
    rounds = {"rounds": settings.rounds, "most_rounds": settings.most_rounds, "warmup": settings.warmup}
    timed = interleave(candidates, units=units, device=context.device, **rounds)

    image = clip[0]
    both = {"per_frame": plain, "keyframe": anticipating}
    macs = {name: count_macs(model, ([image],)).macs for name, model in both.items()}
    check = cross_check(plain, ([image],))
    saved = {name: _saved_by_training_step(model, image, settings) for name, model in both.items()}
    with torch.inference_mode():
        boxes = len(anticipating([image])[0]["boxes"])

    metrics = {"head_macs_share": Metric(100 * (macs["keyframe"] / macs["per_frame"] - 1), "%")}
    for name, covered in units.items():
        fps, speedup = timed[name].units_per_second, ratio(timed, "per_frame", name)
        metrics |= {key: Metric(value, "frames/s") for key, value in fps.named("fps", name).items()}
        metrics |= {key: Metric(value, "x") for key, value in speedup.named("speedup", name).items()}
        if name not in networks:
            which = "per_frame" if name == "per_frame" else "keyframe"
            metrics |= {
                f"flops_g_{name}": Metric(macs[which] / covered / 1e9, "GMAC/frame"),
                f"activation_mb_{name}": Metric(saved[which] / covered / 1e6, "MB/frame"),
            }
    details = protocol(timed, "latency, batch 1, model only: frames are on the device, nothing is decoded") | {
        "frames": "uniform noise, an endless stream; every method in its steady state",
        "input_size": [settings.height, settings.width],
        "dtype": "float32",
        "weights": "random, classifier biased so that the detection slots fill",
        "boxes_per_keyframe": boxes,
        "fvcore_over_torch_macs": check.ratio,
        "activation": "bytes autograd keeps for one training step on one keyframe, over the frames it covers",
    }
    return Outcome(metrics, details)


def _frames_of(
    method: Callable[[Iterable[Tensor]], Iterator[Any]], clip: list[Tensor], count: int, full: int
) -> Callable[[], object]:
    """A call that takes the next `count` results of a method from an endless stream, of which `full` are gone."""
    stream = method(cycle(clip))
    for _ in range(full):
        next(stream)
    return lambda: [next(stream).boxes for _ in range(count)]


def _saved_by_training_step(model: AnticipationRCNN, image: Tensor, settings: Settings) -> int:
    """Bytes kept for the backward pass of one keyframe with one object, parameters not counted."""
    import torch

    from efficiency_bench.measure.memory import saved_bytes

    sides = image.new_tensor([settings.width, settings.height] * 2)
    box = image.new_tensor([[0.1, 0.1, 0.6, 0.6]]) * sides
    target = {
        "boxes": box,
        "labels": torch.ones(1, dtype=torch.int64, device=image.device),
        "trajectories": box[:, None].repeat(1, settings.detector.horizon, 1),
        "trajectory_valid": torch.ones(1, settings.detector.horizon, dtype=torch.bool, device=image.device),
    }
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    saved = saved_bytes(lambda: model([image], [target]), exclude=model).total
    model.load_state_dict(state)  # batch normalisation has moved
    model.eval()
    return saved


EXPERIMENT = Experiment(
    "video_detection_speed", "measure",
    "time per-frame detection, anticipation from keyframes and its peers, interleaved", Settings, (), run,
)  # fmt: skip
