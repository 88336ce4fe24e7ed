"""The classifiers of chapter 5: every backbone with every norm, each with and without WeightAlign."""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from weight_align.method import together
from weight_align.method.convert import Keep, weight_align
from weight_align.method.functional import gain_value
from weight_align.networks import fixup
from weight_align.networks.config import AlignmentConfig, NetworkConfig
from weight_align.networks.norms import weight_norm
from weight_align.networks.resnet import ResNet
from weight_align.networks.vgg import VGG

Network = ResNet | VGG
"""A classifier. torchvision's MobileNetV2 with a ``config`` is used as one too; torchvision need not be installed."""
_CLASSIFIERS = ("fc.", "classifier.6.", "classifier.")


def build_network(config: NetworkConfig, state: Mapping[str, Tensor] | None = None) -> Network:
    """A network with random weights, or with those of a trained one. Random weights are drawn from torch's default
    generator. Returns a network from images (B, 3, H, W) of floating point to class scores (B, classes); ``.config`` is
    ``config``. Raises ValueError if ``config`` has no classes, or the state does not fit; ModuleNotFoundError for
    MobileNetV2 without torchvision.

    Args:
        state: ``state_dict`` of a network with the same layers, of this package or of torchvision. A classifier that is absent
            or for another number of classes starts at random. A state without WeightAlign may start a network with it
            (thesis 5.4.3): with one scale per filter, the scales start at the standard deviations of the filters, as
            ``weight_align(network, keep="function")`` sets them; other scales start at one."""
    if not config.classes:
        raise ValueError("classes must be 1 or more to build a network, got 0")
    network = _plain_network(config)
    if state is not None and config.align and not is_aligned_state(state):
        load_weights(network, state)
        align_network(network, "function" if config.scale == "filter" or not config.variance else "weights")
        return network
    if config.norm == "wn":
        weight_norm(network, "fc", "classifier", "classifier.6")
    if config.align:
        align_network(network, "weights")
    if isinstance(network, ResNet) and config.fixed_up:
        fixup.start(network)
    if state is not None:
        load_weights(network, state)
    return network


def _plain_network(config: NetworkConfig) -> Network:
    if config.backbone == "vgg16":
        return VGG(config)
    if config.backbone == "mobilenet_v2":
        from torchvision.models import mobilenet_v2

        network = mobilenet_v2(weights=None, num_classes=config.classes, width_mult=config.width / 64)
        network.config = config
        return cast(Network, network)
    return ResNet(config)


def align_network(network: Network, keep: Keep) -> None:
    """Align a plain network in place with the settings of its configuration. Raises ValueError if the network is
    aligned already. ``keep``: see :func:`~weight_align.method.convert.weight_align`."""
    weight_align(network, keep=keep, **align_options(network.config))
    if together.pays(network):
        together.install(network)


def align_options(config: AlignmentConfig) -> dict[str, Any]:
    """The arguments of :func:`~weight_align.method.convert.weight_align` that a configuration sets."""
    gain = gain_value(config.gain) / config.scale_factor
    return {"gain": gain, "scale": config.scale, "centre": config.centre, "variance": config.variance}


def is_aligned_state(state: Mapping[str, Tensor]) -> bool:
    """Whether a ``state_dict`` is that of a network with WeightAlign that is not folded."""
    return any(name.endswith("parametrizations.weight.original") for name in state)


def load_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load ``state`` into ``network``; where its classifier is absent or of another size, the network keeps its own. Raises
    ValueError if another entry is missing, left over, or has another shape."""
    wanted = network.state_dict()
    head = next(prefix for prefix in _CLASSIFIERS if any(name.startswith(prefix) for name in wanted))
    given = dict(state)
    absent = not any(name.startswith(_CLASSIFIERS) for name in given)
    if absent or any(
        name.startswith(head) and name in given and given[name].shape != wanted[name].shape for name in wanted
    ):
        given = {name: value for name, value in given.items() if not name.startswith(head)}
        given |= {name: value for name, value in wanted.items() if name.startswith(head)}
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    extra = [name for name in given if name not in wanted]
    odd = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    problems = [f"lack {name!r}" for name in missing] + [f"have {name!r}, which the network lacks" for name in extra]
    problems += [f"have {name!r} as {tuple(given[name].shape)}, not {tuple(wanted[name].shape)}" for name in odd]
    if problems:
        raise ValueError(f"the weights do not fit the network: they {problems[0]} ({len(problems)} such entries)")
    network.load_state_dict(given, strict=False)
