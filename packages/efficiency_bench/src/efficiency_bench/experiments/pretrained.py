"""Pretrained weights that settings name by their place under the data root.

The value of a setting is ``data_root/weights/FILE.pt|IMAGENET1K_V1``: the file, or where there is none the weights of this name,
which torchvision downloads. The part after ``|`` may be left out. ``bgr:`` before it says that the network in the file takes
Caffe's input (``outlier_matching.rgb_weights``). Records keep the setting as it was given, so that it does not depend on the
place of the data root, and say with a digest what was used.
"""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from efficiency_core.files import file_sha256
from efficiency_core.settings import flatten

_log = logging.getLogger(__name__)
_PLACE = re.compile(r"(?P<input>bgr:)?data_root/(?P<file>[^|]+)(\|(?P<name>.+))?")


def with_weights(settings: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The settings with paths of files that exist, or names, and what was used by setting (``training.weights``): its
    ``file`` and ``sha256``, or its ``name``. A ``UsageError`` if there is neither file nor name."""
    found: dict[str, Any] = {}
    used: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found[key], inner = with_weights(value, f"{prefix}{key}.")
            used |= inner
        elif isinstance(value, str) and (place := _PLACE.fullmatch(value)):
            found[key], used[prefix + key] = _located(place, prefix + key)
        else:
            found[key] = value
    return found, used


def _located(place: re.Match[str], setting: str) -> tuple[str, dict[str, str]]:
    root = os.environ.get("EFFICIENCY_DATA", "")
    path = Path(root, place["file"])
    if root and path.is_file():
        return f"{place['input'] or ''}{path}", {"file": place["file"], "sha256": file_sha256(path)}
    if place["name"]:
        _log.warning(
            "%s: no %s under EFFICIENCY_DATA (%r): %s in its place", setting, place["file"], root, place["name"]
        )
        return place["name"], {"name": place["name"]}
    raise UsageError(
        f"{setting}: {path}: no such file; EFFICIENCY_DATA is {root!r}, and no other weights are named after '|'"
    )


def as_given(value: Any, given: Mapping[str, Any], located: Mapping[str, Any]) -> Any:
    """`value`, of JSON's types, with the settings `given` in place of those that :func:`with_weights` has `located`."""
    before = flatten(given)
    back = {found: before[name] for name, found in flatten(located).items() if found != before[name]}
    back |= {found.removeprefix("bgr:"): text for found, text in back.items()}

    def replaced(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: replaced(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [replaced(inner) for inner in value]
        return back.get(value, value) if isinstance(value, str) else value

    return replaced(value) if back else value
