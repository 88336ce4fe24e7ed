"""Error, and weights and activations of one layer, at some epochs of a training: of the second convolution of the eighth
residual block of a ResNet-50, and of its classifier (thesis section 5.4.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from efficiency_bench.experiments.normalisation.activation_distributions import asymmetry, densities
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import Metric
from efficiency_core.files import atomic_path

if TYPE_CHECKING:
    from weight_align.networks import Network

CHANNELS = 4
"""Number of channels of the trained network in figure 5.5; the first of them is recorded over the epochs."""
IMAGES = 128
"""Number of images whose activations are recorded."""
_NAMES = tuple(f"channel {number}" for number in range(1, CHANNELS + 1))


class TrainingPictures:
    """Records a network at a few epochs: the `after_epoch` of a training.

    The recordings are files in `folder`, so that a training that is stopped and continued has the same pictures.

    Args:
        images: normalised images, float (B, 3, H, W).
        error: measures the error of the network on the test images, in percent.
        last, count: epochs of the training, and the most that are recorded, with 0 (before the first) and the last.
    """

    def __init__(self, images: Tensor, error: Callable[[Network], float], last: int, count: int, folder: Path) -> None:
        self._images, self._error, self._folder = images, error, folder
        self.epochs = sorted({round(epoch) for epoch in np.linspace(0, last, min(count, last + 1))}) if count else []

    def __call__(self, epoch: int, network: Network) -> None:
        """Record the network after this number of epochs."""
        if epoch not in self.epochs:
            return
        arrays = look(network, self._images)
        error = np.float64(self._error(network))
        with atomic_path(self._folder / f"epoch{epoch}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, error=error, **arrays)

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """`test_error`, `channel_weights` and `channel_activations` by epoch, `middle_channels` and `classifier_channels` of the
        last epoch that was reached. Empty if none was."""
        seen = {}
        for epoch in self.epochs:
            path = self._folder / f"epoch{epoch}.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    seen[epoch] = {name: file[name] for name in file.files}
        if not seen:
            return {}
        last = seen[max(seen)]
        found = {
            "test_error": Series.of([("test images", list(seen), [float(one["error"]) for one in seen.values()])]),
            "channel_weights": densities([(str(epoch), one["weights"]) for epoch, one in seen.items()]),
            "channel_activations": densities([(str(epoch), one["channels"][0]) for epoch, one in seen.items()]),
            "middle_channels": densities(list(zip(_NAMES, last["channels"], strict=False))),
            "classifier_channels": densities(list(zip(_NAMES, last["classes"], strict=False))),
        }
        return {key: array for name, series in found.items() for key, array in series.arrays(name).items()}


@torch.no_grad()
def look(network: Network, images: Tensor) -> dict[str, Any]:
    """Arrays of a network in eval mode on images (B, 3, H, W): `weights` (n,), the first filter of the middle layer,
    aligned as it is used; `channels` (channels, positions), outputs of its first channels before any norm; `classes`
    (channels, B), scores."""
    from weight_align.method import activations, classifiers

    name, (scores,) = middle_layer(network), classifiers(network)
    weight: Any = network.get_submodule(name).weight
    seen = activations(network, images, (name, scores))
    channels, classes = seen[name][:, :CHANNELS].transpose(0, 1).flatten(1), seen[scores][:, :CHANNELS].T
    parts = {"weights": weight[0].flatten(), "channels": channels, "classes": classes}
    return {part: values.float().cpu().numpy() for part, values in parts.items()}


@torch.no_grad()
def middle_numbers(network: Network, images: Tensor) -> dict[str, Metric]:
    """What figures 5.4 and 5.5 show, as numbers of all filters of the middle layer: `filter_asymmetry`, the mean asymmetry of a
    filter's weights around zero, and `channel_mean_spread`, the deviation of the channels' means over the root of their mean
    variance (left out if that is 0)."""
    from weight_align.method import activations, channel_statistics

    name = middle_layer(network)
    weight: Any = network.get_submodule(name).weight
    filters = weight.flatten(1).float().cpu().numpy()
    numbers = {"filter_asymmetry": float(np.mean([asymmetry(row) for row in filters]))}
    (found,) = channel_statistics(activations(network, images, (name,))).values()
    if (variance := float(found.variance.mean())) > 0:
        numbers["channel_mean_spread"] = float(found.mean.std(correction=0)) / variance**0.5
    return {name: Metric(value, "1") for name, value in numbers.items()}


def middle_layer(network: Network) -> str:
    """Name of the second convolution of the eighth residual block, the last block of a ResNet-18; in VGG16 of the eighth
    convolution."""
    from weight_align.networks import ResNet

    modules = list(network.named_modules())
    if isinstance(network, ResNet):
        block = network.blocks()[7]
        return next(f"{name}.conv2" for name, module in modules if module is block)
    return [name for name, module in modules if isinstance(module, nn.Conv2d)][7]
