"""Speed, multiply-adds and memory of detection in video: every frame against keyframes only (table 2.4, figure 2.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..flops import count_macs, cross_check
from ..memory import saved_bytes
from ..records import Metric
from ..speed import interleave, protocol, ratio
from .base import Context, Experiment, Outcome

if TYPE_CHECKING:
    from location_anticipation import AnticipationRCNN


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
    horizon: int = 8
    """T, the steps the trajectory head anticipates."""
    keyframe_steps: tuple[int, ...] = (4, 8)
    """Frames from one keyframe to the next, each timed as a candidate of its own."""
    rounds: int = 20
    """Rounds of the interleaved timing."""
    warmup: int = 2
    """Untimed calls of each candidate before."""


def detectors(settings: Settings, seed: int) -> tuple[AnticipationRCNN, AnticipationRCNN]:
    """The per-frame detector and the same one, sharing every weight, with a trajectory head.

    Speed does not depend on what was learned but on how many boxes there are to work on. Untrained weights would give
    none, so batch normalisation is calibrated on one frame and the classifier is biased towards one class: all
    proposals pass the score threshold and NMS leaves as many boxes as a frame may have, or nearly so. For the
    trajectory head this is the worst case.
    """
    from location_anticipation import DetectorConfig, build_detector

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


def run(settings: Settings, context: Context) -> Outcome:
    """Time, count and weigh both detectors on random frames."""
    plain, anticipating = (model.to(context.device) for model in detectors(settings, context.seed))
    generator = torch.Generator().manual_seed(context.seed)
    frames = torch.rand(max(settings.keyframe_steps), 3, settings.height, settings.width, generator=generator)
    clip = list(frames.to(context.device))

    candidates: dict[str, Callable[[], object]] = {"per_frame": _candidate(plain, clip[:1], 1)}
    candidates |= {f"step{step}": _candidate(anticipating, clip[:step], step) for step in settings.keyframe_steps}
    units = {"per_frame": 1} | {f"step{step}": step for step in settings.keyframe_steps}
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
        which = "per_frame" if name == "per_frame" else "keyframe"
        speedup = ratio(timed, "per_frame", name)
        metrics |= {
            f"fps_{name}": Metric(timed[name].units_per_second.median, "frames/s"),
            f"fps_p10_{name}": Metric(timed[name].units_per_second.p10, "frames/s"),
            f"fps_p90_{name}": Metric(timed[name].units_per_second.p90, "frames/s"),
            f"speedup_{name}": Metric(speedup.median, "x"),
            f"speedup_p10_{name}": Metric(speedup.p10, "x"),
            f"speedup_p90_{name}": Metric(speedup.p90, "x"),
            f"flops_g_{name}": Metric(macs[which] / covered / 1e9, "GMAC/frame"),
            f"activation_mb_{name}": Metric(saved[which] / covered / 1e6, "MB/frame"),
        }
    details = protocol(timed, "latency, batch 1, model only: frames are on the device, nothing is decoded") | {
        "frames": "uniform noise",
        "input_size": [settings.height, settings.width],
        "dtype": "float32",
        "weights": "random, classifier biased so that the detection slots fill",
        "boxes_per_keyframe": boxes,
        "fvcore_over_torch_macs": check.ratio,
        "activation": "bytes autograd keeps for one training step on one keyframe, over the frames it covers",
    }
    return Outcome(metrics, details)


def _candidate(model: AnticipationRCNN, clip: list[Tensor], step: int) -> Callable[[], object]:
    from location_anticipation.video import VideoDetector

    detector = VideoDetector(model, step)
    return lambda: [found.boxes for found in detector(clip)]


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
    summary="time per-frame detection against anticipation from keyframes, interleaved",
    settings_type=Settings,
    data=(),
    function=run,
)
