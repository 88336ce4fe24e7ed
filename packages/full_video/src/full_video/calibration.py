"""Statistics for a frozen batch norm where no pretrained weights bring them: those of some frames, taken once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from full_video.errors import UsageError
from full_video.networks import VideoNetwork

__all__ = ["calibrate_stem"]


@torch.no_grad()
def calibrate_stem(network: VideoNetwork, batches: Iterable[Tensor]) -> int:
    """Set the statistics of the stem's batch norm to the mean of those of batches of frames.

    A streamed stem needs statistics that stay (``frozen_norm="stem"``), and those of a fresh network, mean 0 and variance 1,
    normalise nothing. A few dozen frames of the training videos before the first step are enough; scale and offset
    then learn as ever. Weights that are not changed by training afterwards keep these statistics right, others less and
    less, so it may be repeated between epochs.

    Args:
        network: its stem must not shift over time.
        batches: frames (n, 3, H, W), uint8 or normalised, n >= 2; on any device.

    Returns:
        The number of frames seen.

    Raises:
        UsageError: if the stem shifts, or there is no frame.
    """
    if network.config.stem_shifts:
        raise UsageError("a stem that shifts over time sees no single frames; use stem_shift=False")
    norms = [
        m for name in network.stem_names for m in getattr(network, name).modules() if isinstance(m, nn.BatchNorm2d)
    ]
    before = [(norm.momentum, norm.training) for norm in norms]
    kept = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    frames = 0
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over batches
            norm.train()
        for batch in batches:
            network.stem(batch.to(network.fc.weight.device))
            frames += len(batch)
    finally:
        for norm, (momentum, training), state in zip(norms, before, kept, strict=True):
            norm.momentum = momentum
            norm.train(training)
            if not frames:
                norm.load_state_dict(state, strict=False)
    if not frames:
        raise UsageError("calibrating the stem's batch norm needs frames, got none")
    return frames
