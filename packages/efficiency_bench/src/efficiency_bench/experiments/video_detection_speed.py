"""Speed, multiply-adds and memory of detection in video: location anticipation and its peers (table 2.4, figure 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..flops import count_macs, cross_check
from ..memory import saved_bytes
from ..records import Metric
from ..speed import interleave, protocol, ratio
from .base import Context, Experiment, Outcome, check_step, checking

if TYPE_CHECKING:
    from location_anticipation import AnticipationRCNN
    from location_anticipation.peers import PeerConfig


@dataclass(frozen=True)
class Settings:
    """The thesis's setting is the default: Faster R-CNN, ResNet-101, frames of 600x1000, batch 1."""

    backbone: str = "resnet101"
    """Feature extractor, a torchvision ResNet."""
    fpn: bool = False
    """Feature pyramid, or the last stage (C5) alone as in the thesis's Faster R-CNN."""
    height: int = 600
    """Height of a frame in pixels."""
    width: int = 1000
    """Width of a frame in pixels."""
    classes: int = 30
    """Object classes; ImageNet VID has 30."""
    proposals: int = 300
    """Proposals a frame that reach the RoI heads, as is usual for ImageNet VID."""
    horizon: int = 16
    """T, the steps the trajectory head anticipates."""
    keyframe_steps: tuple[int, ...] = (2, 4, 8, 16)
    """Frames from one keyframe to the next, each timed as a candidate of its own."""
    peers: tuple[str, ...] = ("key_boxes_copied", "constant_velocity", "interpolation", "dff", "fgfa", "selsa")
    """Methods timed beside it (`location_anticipation.peers`)."""
    peer_step: int = 4
    """Frames from one keyframe to the next of the peers that have keyframes; the thesis's own T in table 2.4."""
    window: int = 10
    """K, frames before and after the current one that FGFA aggregates and that SELSA takes its references from."""
    references: int = 14
    """Reference frames of SELSA."""
    rounds: int = 20
    """Rounds of the interleaved timing."""
    warmup: int = 2
    """Untimed calls of each candidate before."""

    def __post_init__(self) -> None:
        for step in self.keyframe_steps:
            check_step("keyframe_steps", step, self.horizon)
        check_step("peer_step", self.peer_step, 0)


def detectors(settings: Settings, seed: int) -> tuple[AnticipationRCNN, AnticipationRCNN]:
    """The per-frame detector and the same one, sharing every weight, with a trajectory head.

    Speed does not depend on what was learned but on how many boxes there are to work on. Untrained weights would give
    none, so batch normalisation is calibrated on one frame and the classifier is biased towards one class: all
    proposals pass the score threshold and NMS leaves as many boxes as a frame may have, or nearly so. For the
    trajectory head this is the worst case.
    """
    from location_anticipation import DetectorConfig, build_detector

    with checking("settings of the detector"):
        config = DetectorConfig(
            num_classes=settings.classes,
            horizon=settings.horizon,
            backbone=settings.backbone,
            fpn=settings.fpn,
            min_size=min(settings.height, settings.width),
            max_size=max(settings.height, settings.width),
            proposals_train=2000,
            proposals_test=settings.proposals,
        )
    torch.manual_seed(seed)
    anticipating = build_detector(config)
    norms = [module for module in anticipating.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        anticipating.backbone.train()(torch.randn(1, 3, settings.height // 2, settings.width // 2))
        anticipating.roi_heads.box_predictor.cls_score.bias[1] = 8.0
    for norm in norms:
        norm.momentum = 0.1
    plain = build_detector(DetectorConfig(**asdict(config) | {"horizon": 0}))
    shared = {key: value for key, value in anticipating.state_dict().items() if "trajectory_head" not in key}
    plain.load_state_dict(shared)
    return plain.eval(), anticipating.eval()


def peer_network(peer: PeerConfig, plain: AnticipationRCNN) -> AnticipationRCNN:
    """The network of a peer, with the per-frame detector's weights in all that they share and random ones elsewhere."""
    from location_anticipation.peers import KEY_BOX_METHODS, build_peer

    if peer.method in KEY_BOX_METHODS:
        return plain
    model = build_peer(peer)
    _, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    if unexpected:
        raise ValueError(f"{peer.method} lacks parts of the detector it is built on: {', '.join(unexpected)}")
    return model.eval()


def run(settings: Settings, context: Context) -> Outcome:
    """Time, count and weigh all methods on random frames."""
    from location_anticipation.peers import PeerConfig, video_method
    from location_anticipation.video import VideoDetector

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
    for name in settings.peers:
        with checking("settings of the peers"):
            peer = PeerConfig(
                method=name,
                detector=plain.config,
                keyframe_step=settings.peer_step,
                window=settings.window,
                references=settings.references,
            )
        networks[name] = peer_network(peer, plain).to(context.device)
        covered = 1 if name in ("fgfa", "selsa") else settings.peer_step
        # What looks ahead or back reaches its steady state when its window is full.
        full = 2 * settings.window + 1 if covered == 1 else 2 * settings.peer_step
        candidates[name] = _frames_of(video_method(peer, networks[name]), clip, covered, full)
        units[name] = covered
    timed = interleave(candidates, units=units, rounds=settings.rounds, warmup=settings.warmup, device=context.device)

    image = clip[0]
    macs = {
        "per_frame": count_macs(plain, ([image],)).macs,
        "keyframe": count_macs(anticipating, ([image],)).macs,
    }
    check = cross_check(plain, ([image],))
    saved = {
        "per_frame": _saved_by_training_step(plain, image, settings),
        "keyframe": _saved_by_training_step(anticipating, image, settings),
    }
    with torch.inference_mode():
        boxes = len(anticipating([image])[0]["boxes"])

    metrics = {"head_macs_share": Metric(100 * (macs["keyframe"] / macs["per_frame"] - 1), "%")}
    for name, covered in units.items():
        speedup = ratio(timed, "per_frame", name)
        metrics |= {
            f"fps_{name}": Metric(timed[name].units_per_second.median, "frames/s"),
            f"fps_p10_{name}": Metric(timed[name].units_per_second.p10, "frames/s"),
            f"fps_p90_{name}": Metric(timed[name].units_per_second.p90, "frames/s"),
            f"speedup_{name}": Metric(speedup.median, "x"),
            f"speedup_p10_{name}": Metric(speedup.p10, "x"),
            f"speedup_p90_{name}": Metric(speedup.p90, "x"),
        }
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
    box = image.new_tensor([[0.1, 0.1, 0.6, 0.6]]) * image.new_tensor(
        [settings.width, settings.height, settings.width, settings.height]
    )
    target = {
        "boxes": box,
        "labels": torch.ones(1, dtype=torch.int64, device=image.device),
        "trajectories": box[:, None].repeat(1, settings.horizon, 1),
        "trajectory_valid": torch.ones(1, settings.horizon, dtype=torch.bool, device=image.device),
    }
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    saved = saved_bytes(lambda: model([image], [target]), exclude=model).total
    model.load_state_dict(state)  # batch normalisation has moved
    model.eval()
    return saved


EXPERIMENT = Experiment(
    name="video_detection_speed",
    kind="measure",
    summary="time per-frame detection, anticipation from keyframes and its peers, interleaved",
    settings_type=Settings,
    data=(),
    function=run,
)
