"""The detector that a text names."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from efficiency_core.errors import UsageError
from location_anticipation.checkpoint import load_detector
from location_anticipation.detectors.image_detector import ImageDetector, NamedDetector
from location_anticipation.detectors.torchvision_models import torchvision_detector, torchvision_names

_NETWORKS = (".onnx", ".pt", ".pth", ".torchscript")


def open_detector(
    text: str, weights: str | Path | None = None, class_names: Sequence[str] | None = None
) -> NamedDetector:
    """The detector that ``text`` names, in eval mode on the CPU.

    Args:
        text: a detector of torchvision such as ``fasterrcnn_resnet50_fpn_v2``; a ``detector.safetensors`` of this package; or
            ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``, a function without arguments that returns the detector: a function as
            :class:`~location_anticipation.detectors.image_detector.ImageDetector` takes it, or the tuple
            (function, class names).
        weights: file of a ``state_dict``, for a detector of torchvision.
        class_names: names of the labels 1, 2, ...; by default those that come with the detector.

    Raises:
        UsageError: if the text names no detector, or the weights or names do not fit it.
        WorkError: if published weights cannot be downloaded.
    """
    known = torchvision_names()
    if text in known:
        return torchvision_detector(text, weights, class_names)
    if weights is not None:
        raise UsageError(f"{text}: a file of weights is for a detector of torchvision")
    if text.endswith(".safetensors"):
        model, stored = load_detector(text)
        return NamedDetector(text, model, tuple(class_names or stored))
    module, colon, function = text.rpartition(":")
    if colon and function.isidentifier():
        return _made(text, _module(module), function, class_names)
    if Path(text).suffix in _NETWORKS:
        raise UsageError(
            f"{text}: a network alone gives no boxes; give FILE.py:FUNCTION that makes a detector of it (README.md)"
        )
    close = get_close_matches(text, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"torchvision has {', '.join(known)}"
    raise UsageError(f"{text!r}: expected a detector of torchvision, a .safetensors file or MODULE:FUNCTION; {hint}")


def read_class_names(path: str | Path) -> list[str]:
    """Names of the labels 1, 2, ... from a text file, a name on each line.

    Raises:
        UsageError: if the file cannot be read, or a line but the last is empty.
    """
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as class names ({error})") from error
    if not all(names) or not names:
        line = names.index("") + 1 if names else 1
        raise UsageError(f"{path}:{line}: expected the name of class {line}")
    return names


def _module(text: str) -> ModuleType:
    """The module by its name, looked for in the current folder too, or by its ``.py`` file."""
    try:
        if not text.endswith(".py"):
            if "" not in sys.path:
                sys.path.insert(0, "")
            return importlib.import_module(text)
        path = Path(text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise UsageError(f"{text}: no such file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses look themselves up
        spec.loader.exec_module(module)
        return module
    except UsageError:
        raise
    except Exception as error:  # other people's code can raise anything
        raise UsageError(f"{text}: cannot be imported ({type(error).__name__}: {error})") from error


def _made(text: str, module: ModuleType, function: str, class_names: Sequence[str] | None) -> NamedDetector:
    make: Callable[[], Any] | None = getattr(module, function, None)
    if not callable(make):
        raise UsageError(f"{text}: {module.__name__} has no function {function}")
    try:
        made = make()
    except Exception as error:
        raise UsageError(f"{text}: the function raised {type(error).__name__}: {error}") from error
    detect, names = made if isinstance(made, tuple) and len(made) == 2 else (made, ())
    if not callable(detect):
        raise UsageError(f"{text}: expected a function from an image to boxes, got {type(detect).__name__}")
    model: nn.Module = ImageDetector(detect, text)
    return NamedDetector(text, model.eval(), tuple(class_names or names))
