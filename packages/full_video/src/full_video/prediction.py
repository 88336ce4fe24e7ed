"""The classes of one video, in memory that does not grow with the video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.errors import WorkError
from full_video.data.augmentation import Draw
from full_video.data.clip_config import ClipConfig
from full_video.data.clips import ClipSource
from full_video.data.sampling import motion_scores
from full_video.networks.frames import FrameSource
from full_video.networks.network import VideoNetwork
from full_video.networks.shift import ShiftedConv2d

_FULL_SIZE = 8  # frames that are in memory at the size of the video


@dataclass(frozen=True)
class Guess:
    """One class that a video may have."""

    label: int
    """Number of the class, from 0."""
    name: str
    """Name of the class."""
    probability: float
    """Softmax of the video's logits."""


@dataclass(frozen=True)
class Prediction:
    """Output of a network that saw n of the N frames of a video."""

    guesses: tuple[Guess, ...]
    """The most probable classes, the best first."""
    length: int
    """N."""
    frames: NDArray[np.int64]
    """int64 (n,) numbers of the frames it saw, rising."""
    clusters: NDArray[np.int64] | None
    """int64 (n,) cluster of each, from 0; -1 is no cluster; None for a network without clusters."""
    distances: NDArray[np.int64] | None
    """int64 (n - 1,) number of signs of the stem's activations that differ between neighbours; None without clusters."""


@torch.no_grad()
def predict(
    network: VideoNetwork, source: FrameSource, class_names: Sequence[str] | None = None,
    clips: ClipConfig | None = None, *, top: int = 5, device: str = "cpu", held: int = 256, window: int = 32,
) -> Prediction:  # fmt: skip
    """Classify a video.

    A network with clusters streams its frames through the stem and reads them as often as it needs them. A network
    without clusters sees them in overlapping windows. The logits of a frame depend on as many neighbours on either side
    as there are shifts, and each window includes these, so the result is that of all frames at once. Only a network
    with clusters whose stem shifts over time (``stem_shift=True``) needs all frames in memory. Raises BrokenFile if the
    video cannot be read; ValueError if there are not as many names as classes, or ``top`` is below 1; WorkError if a
    logit is not finite.

    Args:
        network: it is moved to ``device``, ``cpu`` or ``cuda``.
        source: the frames of the video, uint8 (3, H, W) each.
        class_names: names of the classes; numbers if they are not known.
        clips: what the network is shown of the video, stored with a network; by default all frames at 224 pixels.
        top: number of classes to name.
        held: a clip up to this long is read once and kept; a longer one is read for each pass.
        window: frames whose logits are computed at once without clusters."""
    classes = network.config.classes
    names = [str(label) for label in range(classes)] if class_names is None else list(class_names)
    if len(names) != classes:
        raise ValueError(f"{classes} classes but {len(names)} names")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    shown = clips or ClipConfig()
    motion = motion_scores(source) if shown.sampling.needs_motion else None
    clip = ClipSource(source, shown.indices(len(source), motion=motion), shown.augmentation, Draw())
    network = network.to(device)
    with network.testing():
        clusters = distances = None
        if network.config.clusters:
            streams = network.config.streams
            whole = None if streams and len(clip) > held else _read(clip, 0, len(clip))[None]
            output = network.explain([clip] if whole is None else whole if streams else whole.to(device))
            assert output.clusters is not None and output.distances is not None
            logits = output.logits[0]
            clusters, distances = output.clusters.ids[0].cpu().numpy(), output.distances[0].cpu().numpy()
        else:
            logits = _windowed(network, clip, device, window)
    logits = logits.double().cpu()
    if not logits.isfinite().all():
        raise WorkError("the network's logits are not finite: damaged weights or a failed training")
    probabilities = logits.softmax(dim=0)
    best = probabilities.argsort(descending=True, stable=True)[:top].tolist()
    guesses = tuple(Guess(label, names[label], float(probabilities[label])) for label in best)
    return Prediction(guesses, len(source), clip.indices, clusters, distances)


def as_json(prediction: Prediction, video: str) -> dict[str, Any]:
    """The prediction as values for a JSON file; ``video`` is the name of the video there."""
    document: dict[str, Any] = {
        "video": video,
        "frames": prediction.length,
        "classes": [{"label": g.label, "name": g.name, "probability": g.probability} for g in prediction.guesses],
        "seen": prediction.frames.tolist(),
    }
    if prediction.clusters is not None and prediction.distances is not None:
        document |= {"cluster": prediction.clusters.tolist(), "distance_to_next": prediction.distances.tolist()}
    return document


def _read(clip: ClipSource, start: int, stop: int) -> Tensor:
    """Frames ``start`` to ``stop`` - 1 of a clip (n, 3, S, S)."""
    return torch.cat([clip[first : min(first + _FULL_SIZE, stop)] for first in range(start, stop, _FULL_SIZE)])


def _windowed(network: VideoNetwork, clip: ClipSource, device: str, window: int) -> Tensor:
    """Mean of the logits of all frames (classes,), ``window`` frames at a time."""
    # Each shift lets a frame see one neighbour further, so only this number of frames at the ends of a window is wrong.
    reach = sum(isinstance(module, ShiftedConv2d) for module in network.modules())
    rows: list[Tensor] = []
    handle = network.fc.register_forward_hook(lambda module, inputs, output: rows.append(output))
    total = torch.zeros(network.config.classes, dtype=torch.float64)
    try:
        # ``held`` are the frames from ``first`` to ``read`` - 1. Each is read once: going back starts a file anew.
        held, first, read = torch.empty(0, dtype=torch.uint8), 0, 0
        for start in range(0, len(clip), window):
            stop = min(start + window, len(clip))
            last = min(len(clip), stop + reach)
            if last > read:
                held = torch.cat([*([held] if read else []), _read(clip, read, last)])
            read = last
            network(held[None].to(device))
            total += rows.pop()[start - first : stop - first].double().sum(dim=0).cpu()
            held, first = held[max(0, stop - reach) - first :], max(0, stop - reach)
    finally:
        handle.remove()
    return total / len(clip)
