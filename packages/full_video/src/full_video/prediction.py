"""What a network says about one video, in memory that does not grow with the video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from full_video.augmentation import Augmentation
from full_video.clips import Clips, ClipSource
from full_video.errors import WorkError
from full_video.file_videos import Facts
from full_video.frames import FrameSource
from full_video.networks import VideoNetwork
from full_video.sampling import Sampling
from full_video.shift import ShiftedConv2d

__all__ = ["Guess", "Prediction", "as_json", "predict"]

_HELD = 256  # frames: a clip up to this long is read once and kept, a longer one is read again for each look
_WINDOW = 32  # frames whose scores are computed at once where nothing is clustered
_FULL_SIZE = 8  # frames that are in memory at the size of the video


@dataclass(frozen=True)
class Guess:
    """One class a video may be of."""

    label: int
    """Number of the class, from 0."""
    name: str
    """Its name."""
    probability: float
    """Softmax of the video's scores."""


@dataclass(frozen=True)
class Prediction:
    """What a network says about one video of N frames, n of which it saw."""

    guesses: tuple[Guess, ...]
    """The most probable classes, the best first."""
    length: int
    """N."""
    frames: NDArray[np.int64]
    """(n,) which frames it saw, rising."""
    clusters: NDArray[np.int64] | None
    """(n,) the cluster of each, from 0; -1 for none; None for a network without clusters."""
    distances: NDArray[np.int64] | None
    """(n - 1,) signs of the stem's activations that differ from each to the next; None without clusters."""


@torch.no_grad()
def predict(
    network: VideoNetwork,
    source: FrameSource,
    class_names: Sequence[str] | None = None,
    *,
    sampling: Sampling | None = None,
    augmentation: Augmentation | None = None,
    max_frames: int = 0,
    top: int = 5,
    device: str = "cpu",
) -> Prediction:
    """Classify a video.

    A network with clusters streams its frames through the stem, reading them from the source as often as it needs them.
    One without clusters sees them in overlapping windows: a frame's scores depend on as many neighbours to either side
    as there are shifts, which each window has at hand, so that the result is that of all frames at once. Only a
    network with clusters whose stem shifts over time (``stem_shift=True``) needs all frames in memory.

    Args:
        network: the network; it is moved to ``device``.
        source: the frames of the video, uint8 (3, H, W) each.
        class_names: names of the classes; numbers stand in where they are not known.
        sampling: which frames; by default all. A checkpoint says what the network was trained on.
        augmentation: sizes of the frames.
        max_frames: the most frames; 0 means no limit.
        top: how many classes to name.
        device: ``cpu`` or ``cuda``.

    Raises:
        BrokenVideo: if the video cannot be read.
        ValueError: if there are not as many names as classes, or ``top`` is below 1.
        WorkError: if a score is not finite.
    """
    classes = network.config.classes
    names = [str(label) for label in range(classes)] if class_names is None else list(class_names)
    if len(names) != classes:
        raise ValueError(f"{classes} classes but {len(names)} names")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    clips = Clips(
        _OneVideo(source, tuple(names)), sampling or Sampling(), augmentation or Augmentation(), max_frames=max_frames
    )
    clip, _ = clips.source(0)
    network = network.to(device)
    with _as_for_tests(network):
        clusters = distances = None
        if network.config.clusters:
            output = network.explain(
                _held(clip) if network.config.streams else _read(clip, 0, len(clip))[None].to(device)
            )
            assert output.clusters is not None and output.distances is not None
            logits = output.logits[0]
            clusters, distances = output.clusters.ids[0].cpu().numpy(), output.distances[0].cpu().numpy()
        else:
            logits = _windowed(network, clip, device)
    logits = logits.double().cpu()
    if not logits.isfinite().all():
        raise WorkError("the network's scores are not finite; its weights are damaged or its training failed")
    probabilities = logits.softmax(dim=0)
    best = probabilities.argsort(descending=True, stable=True)[:top].tolist()
    guesses = tuple(Guess(label, names[label], float(probabilities[label])) for label in best)
    return Prediction(guesses, len(source), clip.indices, clusters, distances)


def as_json(prediction: Prediction, video: str) -> dict[str, Any]:
    """The prediction as values for a JSON file; ``video`` is what the video is called there."""
    document: dict[str, Any] = {
        "video": video,
        "frames": prediction.length,
        "classes": [{"label": g.label, "name": g.name, "probability": g.probability} for g in prediction.guesses],
        "seen": prediction.frames.tolist(),
    }
    if prediction.clusters is not None and prediction.distances is not None:
        document |= {"cluster": prediction.clusters.tolist(), "distance_to_next": prediction.distances.tolist()}
    return document


class _OneVideo:
    """A set of one video of unknown class."""

    def __init__(self, source: FrameSource, class_names: tuple[str, ...]) -> None:
        self.facts = Facts("video", "", "", class_names)
        self._source = source

    def __len__(self) -> int:
        return 1

    def label(self, video: int) -> int:
        return 0

    def name(self, video: int) -> str:
        return "video"

    def frames(self, video: int) -> FrameSource:
        return self._source


def _held(clip: ClipSource) -> Tensor | list[ClipSource]:
    return _read(clip, 0, len(clip))[None] if len(clip) <= _HELD else [clip]


def _read(clip: ClipSource, start: int, stop: int) -> Tensor:
    """Frames ``start`` to ``stop`` - 1 of a clip (n, 3, S, S)."""
    return torch.cat([clip[first : min(first + _FULL_SIZE, stop)] for first in range(start, stop, _FULL_SIZE)])


@contextmanager
def _as_for_tests(network: VideoNetwork) -> Iterator[None]:
    training, memory = network.training, network.memory
    network.memory = "streamed" if network.config.streams else "plain"
    try:
        network.eval()
        yield
    finally:
        network.train(training)
        network.memory = memory


def _windowed(network: VideoNetwork, clip: ClipSource, device: str) -> Tensor:
    """The mean of all frames' scores (classes,), :data:`_WINDOW` frames at a time."""
    # A shift lets a frame see one neighbour further, so a window's own ends spoil that many frames and no more.
    reach = sum(isinstance(module, ShiftedConv2d) for module in network.modules())
    rows: list[Tensor] = []
    handle = network.fc.register_forward_hook(lambda module, inputs, output: rows.append(output))
    total = torch.zeros(network.config.classes, dtype=torch.float64)
    try:
        # Frames from ``first`` up to ``read``: each is read once, for a file would start over to go back.
        held, first, read = torch.empty(0, dtype=torch.uint8), 0, 0
        for start in range(0, len(clip), _WINDOW):
            stop = min(start + _WINDOW, len(clip))
            last = min(len(clip), stop + reach)
            if last > read:
                held = torch.cat([held, _read(clip, read, last)]) if read else _read(clip, 0, last)
            read = last
            network(held[None].to(device))
            total += rows.pop()[start - first : stop - first].double().sum(dim=0).cpu()
            held, first = held[max(0, stop - reach) - first :], max(0, stop - reach)
    finally:
        handle.remove()
    return total / len(clip)
