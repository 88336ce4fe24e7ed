"""Distances of neighbouring frames in every stage of a network (figure 3.4), and their correlations."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import Metric
from full_video import VideoNetwork, build_network, neighbour_distances
from full_video.data import ClipConfig, Clips, VideoSet
from full_video.networks import STAGES

SHOWN = 6
"""Pairs of similar and of dissimilar neighbours that the figure shows."""
LONGEST = 512
"""Largest number of frames: they pass the whole network at once, which takes memory for each."""


def whole_videos(videos: VideoSet, shown: ClipConfig) -> Clips:
    """Every frame of each video, as tests crop it."""
    return Clips(videos, ClipConfig(augmentation=shown.augmentation, max_frames=shown.max_frames))


def every_frame(network: VideoNetwork) -> VideoNetwork:
    """A network of the same weights that every frame passes as a whole; the stem shifts as little as before."""
    return with_changes(network, clusters=0, stem_shift=network.config.stem_shifts, average="after_relu")


def with_changes(network: VideoNetwork, **changes: Any) -> VideoNetwork:
    """The same weights in a network whose configuration has these changes, in eval mode."""
    other = build_network(replace(network.config, **changes))
    other.load_state_dict(network.state_dict())
    return other.eval().to(next(network.parameters()).device)


def last_block(network: VideoNetwork, stage: str) -> nn.Module:
    """The layer whose output is that of the stage."""
    return network.get_submodule(network.stages[stage][-1])


@torch.no_grad()
def neighbour_shares(whole: VideoNetwork, frames: Tensor) -> NDArray[np.float64]:
    """(4, T-1): share of activations whose signs differ between neighbouring frames (1, T, 3, S, S), in every stage's output."""
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
    network: VideoNetwork, videos: VideoSet, shown: ClipConfig
) -> tuple[dict[str, Metric], dict[str, NDArray[Any]]]:
    """Distances of neighbouring frames of the first test video (of a longer one, its first `LONGEST` frames) through all stages.

    Similar are the neighbours whose pixels differ least (but do differ), dissimilar those whose pixels differ most.

    Returns:
        Metrics `stage2_rank_correlation` to `stage4_rank_correlation` (Spearman's, of all neighbours' distances with those in
        stage 1; left out if they do not vary), and the artifact `stages/*`, empty if no two neighbours differ.
    """
    whole = every_frame(network)
    source, _ = whole_videos(videos, shown).source(0)
    frames = source[:LONGEST]
    shares = neighbour_shares(whole, frames[None].to(next(whole.parameters()).device))
    pixels = (frames[1:].int() - frames[:-1].int()).abs().flatten(1).double().mean(dim=1).numpy()
    order = [at for at in np.argsort(pixels, kind="stable").tolist() if pixels[at] > 0]
    blocks = np.arange(1, len(STAGES) + 1)
    half = min(SHOWN, len(order) // 2)
    chosen = [("similar frames", at) for at in order[:half]]
    chosen += [("dissimilar frames", at) for at in order[len(order) - half :]]
    found = {stage: correlation(ranks(shares[0]), ranks(shares[stage - 1])) for stage in (2, 3, 4)}
    known = {stage: value for stage, value in found.items() if np.isfinite(value)}
    metrics = {f"stage{stage}_rank_correlation": Metric(value, "1") for stage, value in known.items()}
    series = [(name, blocks, shares[:, at]) for name, at in chosen]
    return metrics, Series.of(series).arrays("stages") if series else {}


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation of two series (P,); NaN if one of them does not vary."""
    a, b = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else float("nan")


def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each value among all (P,); equal values share the mean of their ranks."""
    _, group, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means = ends - (counts - 1) / 2
    return means[group].astype(np.float64)
