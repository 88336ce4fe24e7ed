"""The simulated smooth motion between four keyframes, as in figure 2.7 (appendix 2.6.2, equation 2.5)."""

import math
from dataclasses import dataclass

import numpy as np

from efficiency_bench.experiments.base import Context, Experiment, Outcome
from efficiency_bench.records.artifacts import Example
from efficiency_bench.records.run_record import Metric


@dataclass(frozen=True)
class Settings:
    """A digit of MovingDigits: 28 px, 2 px a frame in a straight line, T = 8, four keyframes as in the figure."""

    keyframes: int = 4
    """Keyframes, with a parabola between each two in turn."""
    horizon: int = 8
    """T, frames from one keyframe to the next."""
    speed: float = 2.0
    """Pixels a frame."""
    direction: float = 36.0
    """Degrees from x (right) to y (down); 36 is the direction of the digit one."""
    side: int = 28
    """Side of the box in pixels."""
    margin: int = 8
    """Pixels between the boxes and the border of the picture."""

    def __post_init__(self) -> None:
        for name, least in (("keyframes", 2), ("horizon", 1), ("side", 1), ("margin", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def run(settings: Settings, context: Context) -> Outcome:
    """The boxes that training on simulated motion sees as true, beside the keyframes they start from and end at."""
    from location_anticipation.data import supervise

    angle = math.radians(settings.direction)
    velocity = settings.speed * np.array([math.cos(angle), math.sin(angle)])
    frames = (settings.keyframes - 1) * settings.horizon + 1
    corner = np.arange(frames)[:, None] * velocity
    corner += settings.margin - corner.min(axis=0)
    straight = np.concatenate([corner, corner + settings.side], axis=1).astype(np.float32)
    size = np.ceil(straight[:, 2:].max(axis=0) + settings.margin).astype(int)

    simulated = straight.copy()
    for segment in range(settings.keyframes - 1):
        first = segment * settings.horizon
        steps = straight[None, first : first + settings.horizon + 1]
        there, image_size = np.ones(steps.shape[:2], bool), (int(size[1]), int(size[0]))
        boxes, _ = supervise("simulated", steps, there, image_size=image_size, segment=segment)
        simulated[first + 1 : first + settings.horizon + 1] = boxes[0]

    keyframe = np.arange(frames) % settings.horizon == 0
    example = Example.of(
        frames=np.full((frames, size[1], size[0]), 255, np.uint8),
        index=list(range(frames)),
        true=[box if is_keyframe else np.zeros((0, 4)) for box, is_keyframe in zip(straight, keyframe, strict=True)],
        found=list(simulated),
        keyframe=keyframe.tolist(),
    )
    bows = np.abs(simulated - straight)
    found = {"bow_px": bows, "keyframe_error_px": bows[keyframe]}
    metrics = {name: Metric(float(values.max()), "px") for name, values in found.items()}
    protocol = {"bow_px": "largest distance of a simulated box from the straight line", "frames": frames}
    return Outcome(metrics, protocol, example.arrays("simulated"))


EXPERIMENT = Experiment(
    "simulated_motion_example", "measure", "the parabolas of simulated smooth motion between keyframes, for figure 2.7",
    Settings, (), run,
)  # fmt: skip
