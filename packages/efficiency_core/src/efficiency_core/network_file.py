"""Networks that are handed on, as safetensors: weights, the configuration they fit, and facts about them."""

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path, why_no_file
from efficiency_core.settings import annotations_of, build

_METADATA = "efficiency_core"  # one entry: safetensors writes several in an order that changes from process to process
_FACTS = "facts/"
Config = TypeVar("Config")
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class NetworkFile:
    """Content of a file of :func:`save_network`."""

    format: str
    """``PACKAGE.KIND/VERSION``."""
    config: dict[str, Any]
    """The configuration as JSON values; :func:`config_from` makes the dataclass of it."""
    facts: dict[str, Any]
    """JSON values, tensors and lists of tensors."""
    state: dict[str, Tensor]
    """The weights, on the CPU, as ``load_state_dict`` takes them."""


def save_network(
    path: str | Path, format: str, config: Mapping[str, Any], facts: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write a network file; equal content gives equal bytes.

    ``path`` ends in ``.safetensors`` by convention; the other arguments are as in :class:`NetworkFile`. Raises
    :class:`~efficiency_core.errors.WorkError` if the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    plain: dict[str, Any] = {}
    for name, fact in facts.items():
        parts = [fact] if isinstance(fact, Tensor) else fact
        if not (isinstance(parts, list | tuple) and parts and all(isinstance(part, Tensor) for part in parts)):
            plain[name] = fact
            continue
        plain[name] = {"tensors": None if isinstance(fact, Tensor) else len(parts)}
        for number, part in enumerate(parts):
            tensors[f"{_FACTS}{name}/{number}"] = part.detach().cpu().contiguous().clone()
    head = json.dumps({"format": format, "config": dict(config), "facts": plain}, sort_keys=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, {_METADATA: head}))


def load_network(path: str | Path, *expected_formats: str) -> NetworkFile:
    """Content of a network file; :class:`UsageError` if it is missing, damaged or of none of ``expected_formats``."""
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: {why_no_file(path)}; expected a network of {expected_formats[0].partition('.')[0]}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except Exception as error:  # a damaged file can raise almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path}: not a readable network file, which is safetensors ({reason})") from error
    try:
        head = json.loads(metadata.get(_METADATA, "{}"))
        found = head.get("format")
        if found not in expected_formats:
            wanted = " or ".join(map(repr, expected_formats))
            raise UsageError(f"{path}: a network of another kind (format {found!r}, expected {wanted})")
        facts = {name: _fact(name, value, tensors) for name, value in head["facts"].items()}
        return NetworkFile(found, dict(head["config"]), facts, tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: its description cannot be read ({error!r}); the file is damaged") from error


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The weights in a file of any program, on the CPU: a ``state_dict`` as safetensors or written by ``torch.save``, by
    itself or under the key ``state_dict`` or ``model``.

    Raises:
        UsageError: if the file is missing, damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: {why_no_file(path)}; expected weights (safetensors, or written by torch.save)")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's advice to load the file with its code is not repeated
        raise UsageError(f"{path}: not readable weights (not a file of tensors)") from error
    except Exception as error:  # a damaged file can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path}: not readable weights ({reason})") from error
    for key in ("state_dict", "model"):  # entries of other programs' checkpoints
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return dict(content)


def _fact(name: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    """A fact in the form it had; its tensors leave ``tensors``."""
    if not (isinstance(value, dict) and set(value) == {"tensors"}):
        return value
    count = value["tensors"]
    parts = [tensors.pop(f"{_FACTS}{name}/{number}") for number in range(1 if count is None else count)]
    return parts[0] if count is None else parts


def config_from(kind: type[Config], stored: Mapping[str, Any], path: str | Path) -> Config:
    """The configuration that was stored in ``path`` as JSON values; nested dataclasses and tuples are made again.

    Raises:
        UsageError: if another version of the package has written it (it has other settings), or its values make no sense.
    """
    odd = _odd_settings(kind, stored, "")
    if odd:
        raise UsageError(f"{path}: written by another version of this package (settings that differ: {', '.join(odd)})")
    return build(kind, stored, f"{path}: its settings make no sense; the file is damaged")


def _odd_settings(kind: type[Any], stored: Mapping[str, Any], prefix: str) -> list[str]:
    known = annotations_of(kind)
    odd = sorted(prefix + name for name in set(stored) ^ known.keys())
    for name in sorted(set(stored) & known.keys()):
        if is_dataclass(known[name]) and isinstance(stored[name], Mapping):
            odd += _odd_settings(known[name], stored[name], f"{prefix}{name}.")  # type: ignore[arg-type]
    return odd


def restored(path: str | Path, make: Callable[[], Net], state: Mapping[str, Tensor]) -> Net:
    """The network that ``make`` builds with the weights ``state`` of the file ``path``, in eval mode.

    Torch's random state stays as it was.

    Raises:
        UsageError: if the network cannot be built or the weights do not fit it.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            network = make()
        network.load_state_dict(dict(state))
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path}: its weights do not fit its own configuration ({reason}); the file is damaged"
        ) from error
    return network.eval()
