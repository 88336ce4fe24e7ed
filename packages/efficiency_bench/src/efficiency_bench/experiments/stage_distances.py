"""How far neighbouring frames are from each other in every stage of a network (figure 3.4), and correlations for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..drawn import Series
from ..records import Metric

if TYPE_CHECKING:
    from full_video.clips import Clips
    from full_video.inputs import InputConfig
    from full_video.networks import VideoNetwork
    from full_video.video_sets import VideoSet

STAGES = ("layer1", "layer2", "layer3", "layer4")
SHOWN = 6
"""Pairs of similar and of dissimilar neighbours that the figure shows."""
LONGEST = 512
"""The most frames that are looked at: they pass the whole network at once, which takes memory for each."""


def whole_videos(videos: VideoSet, inputs: InputConfig) -> Clips:
    """Every frame of each video, as tests crop it."""
    from full_video.clips import Clips
    from full_video.sampling import Sampling

    return Clips(
        videos,
        sampling=Sampling(),
        augmentation=inputs.augmentation,
        seed=0,
        training=False,
        max_frames=inputs.max_frames,
    )


def every_frame(network: VideoNetwork) -> VideoNetwork:
    """The same weights with every frame going through the whole network; the stem shifts as little as it did."""
    from full_video.networks import build_network

    config = replace(network.config, clusters=0, stem_shift=network.config.stem_shifts, average="after_relu")
    whole = build_network(config)
    whole.load_state_dict(network.state_dict())
    return whole.eval().to(next(network.parameters()).device)


def last_block(network: VideoNetwork, stage: str) -> nn.Module:
    """The block whose output is that of the stage; the stages of a stem are not called as modules themselves."""
    return list(network.get_submodule(stage).children())[-1]


@torch.no_grad()
def neighbour_shares(whole: VideoNetwork, frames: Tensor) -> NDArray[np.float64]:
    """(4, T-1): the share of activations whose signs differ from one frame to the next, in the output of every stage.

    Args:
        whole: a network without clusters, in eval mode.
        frames: (1, T, 3, S, S).
    """
    from full_video.hamming import neighbour_distances

    shares: list[Tensor] = []

    def look(_module: Any, _inputs: Any, output: Tensor) -> None:
        shares.append(neighbour_distances(output[None])[0].double() / output[0].numel())

    hooks = [last_block(whole, stage).register_forward_hook(look) for stage in STAGES]
    try:
        whole(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(shares).cpu().numpy()


def stage_distances(
    network: VideoNetwork, videos: VideoSet, inputs: InputConfig
) -> tuple[dict[str, Metric], dict[str, NDArray[Any]]]:
    """Distances of neighbouring frames of the first test video (of a longer one, its first `LONGEST` frames) through all stages.

    Similar are the neighbours whose pixels differ least, but do differ; dissimilar those whose pixels differ most.

    Returns:
        Metrics `stage2_rank_correlation` to `stage4_rank_correlation` (Spearman's, of all neighbours' distances with those in
        stage 1; left out where they do not vary), and the artifact `stages/*`, empty where no two neighbours differ.
    """
    whole = every_frame(network)
    source, _ = whole_videos(videos, inputs).source(0)
    frames = source[:LONGEST]
    shares = neighbour_shares(whole, frames[None].to(next(whole.parameters()).device))
    pixels = (frames[1:].int() - frames[:-1].int()).abs().flatten(1).double().mean(dim=1).numpy()
    order = [at for at in np.argsort(pixels, kind="stable").tolist() if pixels[at] > 0]
    blocks = np.arange(1, len(STAGES) + 1)
    half = min(SHOWN, len(order) // 2)
    chosen = [("similar frames", at) for at in order[:half]]
    chosen += [("dissimilar frames", at) for at in order[len(order) - half :]]
    found = {stage: correlation(ranks(shares[0]), ranks(shares[stage - 1])) for stage in (2, 3, 4)}
    metrics = {
        f"stage{stage}_rank_correlation": Metric(value, "1") for stage, value in found.items() if np.isfinite(value)
    }
    if not chosen:
        return metrics, {}
    return metrics, Series.of([(name, blocks, shares[:, at]) for name, at in chosen]).arrays("stages")


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation of two series (P,); NaN where one of them does not vary."""
    a, b = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else float("nan")


def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each value among all (P,), equal values sharing the mean of their places."""
    _, group, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means = ends - (counts - 1) / 2
    found: NDArray[np.float64] = means[group].astype(np.float64)
    return found
