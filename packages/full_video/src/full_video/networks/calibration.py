"""Statistics for a frozen batch norm without pretrained weights, taken once from some frames."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from full_video.networks.network import VideoNetwork


@torch.no_grad()
def calibrate_stem(network: VideoNetwork, batches: Iterable[Tensor]) -> int:
    """Set the statistics of the stem's batch norm to the mean over batches of frames; returns the number of frames.

    A streamed stem needs fixed statistics (``frozen_norm="stem"``). Those of a new network, mean 0 and variance 1, normalise
    nothing. A few dozen frames of the training videos before the first step are enough; scale and offset are trained as
    usual. The statistics fit less and less as training changes the weights, so this may be repeated between epochs.

    ``batches`` are frames (n, 3, H, W), uint8 or normalised, n >= 2, on any device. A ``ValueError`` if the stem shifts over
    time, or there is no frame."""
    if network.config.stem_shifts:
        raise ValueError("a stem that shifts over time sees no single frames; use stem_shift=False")
    layers = (module for name in network.stem_names for module in network.get_submodule(name).modules())
    norms = [module for module in layers if isinstance(module, nn.BatchNorm2d)]
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
        raise ValueError("calibrating the stem's batch norm needs frames, got none")
    return frames
