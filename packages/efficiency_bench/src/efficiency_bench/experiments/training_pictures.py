"""What a training looks like from inside: error, and one layer's weights and activations, at some of its epochs.

The thesis shows a ResNet50's second convolution of the eighth residual block and its classifier (section 5.4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..drawn import Series
from ..files import atomic_write
from .densities import densities

if TYPE_CHECKING:
    from weight_align.networks import Network

CHANNELS = 4
"""Channels shown of the trained network (figure 5.5); the first of them is followed over the epochs."""
IMAGES = 128
"""Images whose activations are looked at."""
_BLOCK, _CONVOLUTION = 8, 2
_OF_VGG = 8
_NAMES = tuple(f"channel {number}" for number in range(1, CHANNELS + 1))


class TrainingPictures:
    """Looks at a network at a few epochs: the `after_epoch` of a training.

    What it saw is kept in the run's folder, so that a training that is stopped and continued ends with the same pictures.

    Args:
        images: float (B, 3, H, W), as the network sees them.
        error: the network's error on the test images, in percent.
        last: epochs of the training.
        count: the most epochs that are looked at, 0 (before the first) and the last among them.
        folder: where what was seen is kept.
    """

    def __init__(self, images: Tensor, error: Callable[[Network], float], last: int, count: int, folder: Path) -> None:
        self._images, self._error, self._folder = images, error, folder
        self.epochs = sorted({round(epoch) for epoch in np.linspace(0, last, min(count, last + 1))}) if count else []

    def __call__(self, epoch: int, network: Network) -> None:
        """Look at the network after so many epochs."""
        if epoch not in self.epochs:
            return
        weights, channels, classes = look(network, self._images)
        seen: dict[str, Any] = {
            "error": np.float64(self._error(network)),
            "weights": weights.numpy(),
            "channels": channels.numpy(),
            "classes": classes.numpy(),
        }
        with atomic_write(self._folder / f"epoch{epoch}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, **seen)

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """`test_error`, `channel_weights` and `channel_activations` by epoch, `middle_channels` and `classifier_channels` of the
        last: of all epochs that were reached. Empty where none was."""
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
def look(network: Network, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the first filter of the middle layer (n,), as they are used, that is aligned; outputs of its first channels
    (channels, places), before any normalisation; and class scores (channels, B).

    Args:
        network: in eval mode.
        images: float (B, 3, H, W).
    """
    from weight_align.distributions import activations

    name, scores = middle_layer(network), classifier(network)
    weight: Any = network.get_submodule(name).weight
    seen = activations(network, images, (name, scores))
    channels = seen[name][:, :CHANNELS].transpose(0, 1).flatten(1)
    return weight[0].flatten().float().cpu(), channels.float().cpu(), seen[scores][:, :CHANNELS].T.float().cpu()


def middle_layer(network: Network) -> str:
    """Name of the second convolution of the eighth residual block, which a ResNet-18 has too, and its last; of VGG16 of the
    eighth."""
    from weight_align.resnet import ResNet

    modules = list(network.named_modules())
    if isinstance(network, ResNet):
        block = network.blocks()[_BLOCK - 1]
        return next(f"{name}.conv{_CONVOLUTION}" for name, module in modules if module is block)
    return [name for name, module in modules if isinstance(module, nn.Conv2d)][_OF_VGG - 1]


def classifier(network: Network) -> str:
    """Name of the layer that gives the class scores."""
    from weight_align.classifier import classifiers

    (name,) = classifiers(network)
    return name
