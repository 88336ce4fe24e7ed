"""A new network, with random weights or with pretrained ones, also of networks that take Caffe's input."""

import sys
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from outlier_matching.networks.backbones import StackedLayers, convolutions
from outlier_matching.networks.config import NetworkConfig
from outlier_matching.networks.network import IMAGENET_MEAN, IMAGENET_STD, MatchingNetwork, glorot

_ALEXNET = {"classifier.1.": "fc6.", "classifier.4.": "fc7.", "classifier.6.": "fc8."}
_HEADS = ("fc6.", "fc7.", "fc8.")


def build_network(config: NetworkConfig, weights: str | Mapping[str, Tensor] | None = None) -> MatchingNetwork:
    """A new network. torch's default generator draws random weights: fc6 to fc8, and with ``random_heads`` the trained
    convolutions, after Glorot with biases of 0 (as in the release); those of the small backbones after He; those of
    other backbones as torchvision draws them. Raises ValueError if there is no such backbone or there are no such
    weights, if the weights do not fit, or if none of them is needed; ConnectionError if they cannot be downloaded.

    Args:
        config: its layers, and which layers take pretrained weights (``start``).
        weights: name of torchvision's weights for the backbone, such as ``IMAGENET1K_V1`` (downloaded on first use), or
            the state of a torchvision network or of a :class:`MatchingNetwork`. It must have every entry of the
            backbone that is to be loaded. fc6 to fc8 keep their random values if it has other shapes or lacks these
            layers. None starts from random weights."""
    network = MatchingNetwork(config)
    if weights is not None:
        _load_weights(network, weights)
        drawn = config.start == "random_heads" and config.trained == "thesis"
        if drawn and isinstance(network.backbone, StackedLayers):
            for layer in network.backbone.last_two:
                for convolution in convolutions(layer):
                    glorot(convolution)
    return network


def _load_weights(network: MatchingNetwork, weights: str | Mapping[str, Tensor]) -> None:
    config, name = network.config, "the state"
    if isinstance(weights, str):
        name, weights = weights, _torchvision_weights(config.backbone, weights)
    state = own_names(weights)
    wanted = network.state_dict()
    if config.start == "random_heads":
        wanted = {key: value for key, value in wanted.items() if not network.trains(key)}
        if not wanted:
            raise ValueError(f"start=random_heads with trained=all takes nothing from {name}; choose start=pretrained")
    needed = [key for key in wanted if not key.startswith(_HEADS) and not key.endswith("num_batches_tracked")]
    gaps = [key for key in needed if key not in state]
    odd = [key for key in needed if key in state and state[key].shape != wanted[key].shape]
    if gaps or odd:
        problem = f"lacks {gaps[0]!r}" if gaps else f"has another shape of {odd[0]!r}: {tuple(state[odd[0]].shape)}"
        count = len(gaps) + len(odd)
        raise ValueError(f"{name} does not fit {config.backbone}: it {problem} ({count} such entries)")
    fitting = {key: state[key] for key in wanted if key in state and state[key].shape == wanted[key].shape}
    network.load_state_dict(fitting, strict=False)


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a state of AlexNet or of another torchvision network under the names that this package uses."""
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    alexnet = "classifier.6.weight" in state and "features.0.weight" in state and "features.10.weight" in state
    renamed = {}
    for name, value in state.items():
        head = next((old for old in _ALEXNET if alexnet and name.startswith(old)), None)
        renamed[name.replace(head, _ALEXNET[head], 1) if head else f"backbone.{name}"] = value
    return renamed


def rgb_weights(state: Mapping[str, Tensor], mean: Sequence[float] = (104.0, 117.0, 123.0)) -> dict[str, Tensor]:
    """The state of a torchvision network that takes Caffe's input, changed to take that of :meth:`MatchingNetwork.prepare`.

    Caffe's input is q = 255 (s z + m) - k with channels in the order blue, green, red: z is the prepared image, m and s are
    ImageNet's mean and deviation, k is ``mean``. A convolution of q with weights w and bias b is one of z with weights 255 s w,
    in the order red, green, blue, and bias b + sum w (255 m - k), where the sum is over the kernel and the channels. This is
    computed in float64.

    Only ``features.0``, the first convolution, changes. The function does not know its padding. Without padding, as in
    SqueezeNet, the network computes the same numbers up to rounding. With padding, as in AlexNet and VGG, its border has z = 0,
    which is q = 255 m - k and not 0; with the default ``mean`` this is less than one of 255 grey levels. Raises ValueError if
    the state lacks ``features.0.weight`` or ``features.0.bias``, or this layer does not take three channels.

    Args:
        state: state of SqueezeNet, AlexNet, VGG or another network whose first convolution is ``features.0``.
        mean: what is subtracted from blue, green and red, in grey levels."""
    names = ("features.0.weight", "features.0.bias")
    missing = [name for name in names if name not in state]
    if missing:
        raise ValueError(f"the state lacks {missing[0]!r}, of the first convolution")
    weight, bias = (state[name] for name in names)
    if weight.ndim != 4 or weight.shape[1] != 3 or len(mean) != 3:
        raise ValueError(f"expected three channels, got features.0.weight {tuple(weight.shape)} and mean {tuple(mean)}")
    numbers = torch.tensor((IMAGENET_MEAN, IMAGENET_STD, tuple(mean)[::-1]), dtype=torch.float64, device=weight.device)
    m, s, k = numbers.view(3, 1, 3, 1, 1)
    w = weight.double().flip(1)
    scaled = 255 * s * w
    moved = bias.double() + (w * (255 * m - k)).sum((1, 2, 3))
    return {**state, names[0]: scaled.to(weight.dtype), names[1]: moved.to(bias.dtype)}


def _torchvision_weights(backbone: str, weights: str) -> Mapping[str, Tensor]:
    known = {} if backbone.startswith("small") else {entry.name: entry for entry in get_model_weights(backbone)}
    if weights not in known:
        choices = f" or one of {', '.join(known)}" if known else ""
        raise ValueError(f"weights of {backbone} must be a file{choices}, got {weights!r}")
    try:
        return known[weights].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(f"weights {weights} of {backbone} cannot be downloaded ({error})") from error
