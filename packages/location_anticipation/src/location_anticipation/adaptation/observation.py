"""What a detector finds in a video, kept so that it runs once: boxes of every frame and the features pooled at them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from efficiency_core.checkpoint import read_tensors, write_tensors
from efficiency_core.errors import UsageError
from location_anticipation.data.frame_sources import open_source
from location_anticipation.inference.model_runner import ModelRunner

_FORMAT = "location_anticipation.observation/1"


@dataclass(frozen=True)
class Observation:
    """Detections of the frames 0, ``every``, 2 ``every``, ... of a video, on the CPU."""

    size: tuple[int, int]
    """Height and width of a frame."""
    every: int
    """Frames from one observed frame to the next."""
    frames: int
    """Frames of the video."""
    boxes: list[Tensor]
    """(N, 4) of each observed frame, x1 y1 x2 y2 in pixels."""
    labels: list[Tensor]
    """(N,) int64."""
    scores: list[Tensor]
    """(N,)."""
    features: list[Tensor]
    """(N, F) float16, pooled at the boxes; F is 0 without a backbone."""

    def part(self, first: int, last: int) -> "Observation":
        """The observed frames number ``first`` to ``last`` - 1 as a video of its own."""
        lists = (values[first:last] for values in (self.boxes, self.labels, self.scores, self.features))
        count = len(self.boxes[first:last])
        return Observation(self.size, self.every, count * self.every, *lists)


@torch.inference_mode()
def observe(
    detector: nn.Module,
    pool: nn.Module,
    source: str | Path,
    *,
    every: int = 1,
    score: float = 0.0,
    device: str = "cpu",
    kept: Path | None = None,
    key: dict[str, Any] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Observation:
    """Run a detector over a video, or read what it found there before.

    Args:
        detector: called as torchvision's detectors are.
        pool: features of boxes, ``pool(image, boxes)``.
        source: a video file or a folder of images.
        every: the detector runs on every so many frames.
        score: boxes below this score are left out.
        device: ``cpu`` or ``cuda``.
        kept: file of the observation; it is written when the video has been seen whole.
        key: plain values that ``kept`` must have been made with.
        progress: called after every frame with the frames done and those there will be, if known.

    Raises:
        UsageError: if the video cannot be read, or shows nothing.
    """
    made_with = {**(key or {}), "every": every, "score": score}
    if kept is not None and kept.exists():
        content = read_tensors(kept, _FORMAT)
        if content["key"] == made_with:
            return Observation(tuple(content["size"]), every, content["frames"], *content["lists"])
    rows: list[list[Tensor]] = [[], [], [], []]
    frames = 0
    with open_source(source) as video:
        runner = ModelRunner(detector, device=device, score_threshold=score)
        pool.to(device)
        for frames, frame in enumerate(video, 1):
            if (frames - 1) % every == 0:
                image = runner.image(torch.from_numpy(video.rgb(frame)).permute(2, 0, 1).contiguous())
                with runner.running():
                    (output,) = runner.model([image])
                found = runner.found(output, (video.height, video.width))
                features = pool(image, found["boxes"].to(image.device)).half().cpu()
                for values, value in zip(
                    rows, (found["boxes"], found["labels"], found["scores"], features), strict=True
                ):
                    values.append(value.clone())
            if progress is not None:
                progress(frames, video.frame_count)
    if not frames:
        raise UsageError(f"{source}: has no frames")
    size = (video.height, video.width)
    if kept is not None:
        content = {"format": _FORMAT, "key": made_with, "size": list(size), "frames": frames, "lists": rows}
        write_tensors(kept, content)
    return Observation(size, every, frames, *rows)
