"""Network files, and the files and names of weights that networks start from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from torch import Tensor, nn

from efficiency_core import network_file
from efficiency_core.checkpoint import write_tensors
from efficiency_core.errors import UsageError, WorkError, checking
from efficiency_core.files import atomic_path
from weight_align.method import is_aligned
from weight_align.networks.config import AlignmentConfig, Backbone, Conversion, HeadConfig, NetworkConfig
from weight_align.networks.deeplab import DeepLab, build_deeplab
from weight_align.networks.network import Network, build_network, is_aligned_state
from weight_align.networks.torchvision_networks import convert, has_auxiliary, torchvision_network, torchvision_weights

SUFFIX = ".safetensors"
_CLASSIFIER = "weight_align.network/2"
_SEGMENTATION = "weight_align.segmentation/2"
_CONVERTED = "weight_align.converted/2"
_ALIGNMENT = tuple(field.name for field in fields(AlignmentConfig))
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class SavedNetwork(Generic[Net]):
    """Content of a network file."""

    network: Net
    """The network, in eval mode on the CPU."""
    metadata: Mapping[str, Any]
    """Plain values and tensors that were saved with it, such as class names."""
    conversion: Conversion | None = None
    """How a network of torchvision was converted; None for the networks of this package."""


def save_network(path: str | Path, network: Network | DeepLab, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network, its configuration, and metadata. A folded network is written with ``align=False``. Raises
    UsageError if the name of the file does not end in ``.safetensors``; WorkError if the file cannot be written.
    ``path``: the file, ``NAME.safetensors``; ``network``: a classifier or DeepLabv3 of this package."""
    own = asdict(replace(network.config, align=is_aligned(network), fixup=network.config.fixed_up))
    if isinstance(network, DeepLab):
        _save(path, _SEGMENTATION, {"network": own, "head": asdict(network.head_config)}, network, metadata or {})
    else:
        _save(path, _CLASSIFIER, own, network, metadata or {})


def save_converted(path: str | Path, network: nn.Module, conversion: Conversion) -> None:
    """Write an aligned network of torchvision. Raises as :func:`save_network` does."""
    _save(path, _CONVERTED, asdict(conversion), network, {})


def _save(
    path: str | Path, format: str, config: dict[str, Any], network: nn.Module, metadata: Mapping[str, Any]
) -> None:
    if Path(path).suffix != SUFFIX:
        raise UsageError(f"{path}: a network is written as safetensors; name the file NAME{SUFFIX}")
    network_file.save_network(path, format, config, metadata, network.state_dict())


def load_network(path: str | Path) -> SavedNetwork[Network]:
    """The classifier in ``path``. Raises UsageError if the file is missing, damaged, or of another kind."""
    return _classifier(path, network_file.load_network(path, _CLASSIFIER))


def load_deeplab(path: str | Path) -> SavedNetwork[DeepLab]:
    """The DeepLabv3 in ``path``. Raises as :func:`load_network` does."""
    return _deeplab(path, network_file.load_network(path, _SEGMENTATION))


def load_any(path: str | Path) -> SavedNetwork[Any]:
    """The classifier, DeepLabv3 or converted network of torchvision in ``path``. Raises as :func:`load_network` does. A
    converted network does not store ``transform_input``: with weights of GoogLeNet and Inception that torchvision
    publishes, set ``network.transform_input = True``."""
    file = network_file.load_network(path, _CLASSIFIER, _SEGMENTATION, _CONVERTED)
    if file.format == _CLASSIFIER:
        return _classifier(path, file)
    return _deeplab(path, file) if file.format == _SEGMENTATION else _converted(path, file)


def _classifier(path: str | Path, file: network_file.NetworkFile) -> SavedNetwork[Network]:
    config = network_file.config_from(NetworkConfig, file.config, path)
    return SavedNetwork(network_file.restored(path, lambda: build_network(config), file.state), file.facts)


def _deeplab(path: str | Path, file: network_file.NetworkFile) -> SavedNetwork[DeepLab]:
    config = network_file.config_from(NetworkConfig, file.config.get("network", {}), path)
    head = network_file.config_from(HeadConfig, file.config.get("head", {}), path)
    return SavedNetwork(network_file.restored(path, lambda: build_deeplab(config, head), file.state), file.facts)


def _converted(path: str | Path, file: network_file.NetworkFile) -> SavedNetwork[nn.Module]:
    conversion = network_file.config_from(Conversion, file.config, path)

    def make() -> nn.Module:
        auxiliary = has_auxiliary(file.state)
        plain = torchvision_network(conversion.network, conversion.classes, auxiliary=auxiliary)
        return convert(plain, conversion, keep="weights")

    return SavedNetwork(network_file.restored(path, make, file.state), {}, conversion)


def start_weights(weights: str | Path | None, config: NetworkConfig) -> Mapping[str, Tensor] | None:
    """The weights from which a network of ``config`` starts. Raises UsageError if there are no such weights, they have
    WeightAlign and the network has none or with other settings, or they are of another network of torchvision;
    WorkError if they cannot be downloaded. ``weights``: a network file of this package, a file of a ``state_dict``
    (``.safetensors``, or any other suffix for ``torch.save``; only tensors and plain values are read), torchvision's
    name of weights of the backbone, or None."""
    if weights is None:
        return None
    if not Path(weights).suffix and (
        config.stem != "imagenet" or config.width != 64 or config.norm not in ("bn", "none")
    ):
        raise UsageError(
            f"torchvision's weights {weights!r} are for stem=imagenet, width=64 and norm=bn (or none, of vgg16), not for "
            f"stem={config.stem}, width={config.width}, norm={config.norm}; give a file for other networks"
        )
    backbone = "vgg16_bn" if config.backbone == "vgg16" and config.norm == "bn" else config.backbone
    state, stored = read_weights(weights, backbone)
    _check_converted(weights, stored, config)
    if is_aligned_state(state):
        if not config.align:
            raise UsageError(f"{weights}: is of a network with WeightAlign; set align=true, or fold it first")
        differs = [name for name in _ALIGNMENT if name in stored and stored[name] != getattr(config, name)]
        if differs:
            said = ", ".join(f"{name}={stored[name]} (asked for {getattr(config, name)})" for name in differs)
            raise UsageError(f"{weights}: its WeightAlign has other settings: {said}; set the same, or fold it first")
    return state


def _check_converted(path: str | Path, stored: Mapping[str, Any], config: NetworkConfig) -> None:
    """Refuse a network of torchvision from ``convert`` that is not the one that ``config`` builds."""
    name = stored.get("network")
    if not isinstance(name, str):
        return
    backbone = name.removesuffix("_bn")
    if backbone not in get_args(Backbone) or stored.get("exclude") or stored.get("classifier"):
        raise UsageError(
            f"{path}: the commands train ResNets, VGG16 and MobileNetV2 with all layers aligned but the classifier; train "
            f"this {name} in your own code: weight_align.checkpoint.load_any(FILE).network"
        )
    norm = "none" if name == "vgg16" else "bn"
    wanted = {"backbone": backbone, "stem": "imagenet", "width": 64, "norm": norm}
    differs = [f"{key}={value}" for key, value in wanted.items() if getattr(config, key) != value]
    if differs:
        raise UsageError(f"{path}: is a {name} of torchvision; set {', '.join(differs)}")


def write_weights(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write a ``state_dict``: as safetensors where the name ends in ``.safetensors``, otherwise by ``torch.save``.
    Raises WorkError if the file cannot be written."""
    if Path(path).suffix != SUFFIX:
        return write_tensors(path, dict(state))
    from safetensors.torch import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(
            save({name: value.contiguous().clone() for name, value in state.items()}, {"format": "pt"})
        )


def read_weights(weights: str | Path, network: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """The ``state_dict`` of a network, and the configuration stored with it where it is known. Raises UsageError if
    there are no such weights; WorkError if they cannot be downloaded. ``weights``: as for :func:`start_weights`;
    ``network``: torchvision's name of the network."""
    path = Path(weights)
    if not path.suffix:
        try:
            with checking():
                return torchvision_weights(str(weights), network), {}
        except (OSError, RuntimeError) as error:
            raise WorkError(f"weights {weights} of {network} cannot be downloaded ({error})") from error
    if path.suffix == SUFFIX and path.is_file() and _is_own(path):
        own = network_file.load_network(path, _CLASSIFIER, _SEGMENTATION, _CONVERTED)
        return own.state, own.config
    return network_file.read_state(path), {}


def _is_own(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return "efficiency_core" in (file.metadata() or {})
    except SafetensorError:
        return False  # damaged; reading it says so
