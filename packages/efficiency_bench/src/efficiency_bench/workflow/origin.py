"""What a number was measured on, in words: the data and what they stand in for, the size of the network and of its input."""

from collections.abc import Iterable, Mapping
from typing import Any

from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.workflow.tables import RunChoice
from efficiency_core.errors import UsageError

WARNINGS = {"smoke": "smoke: the numbers mean nothing"}
"""Preset -> what a reader of its numbers must know first."""
NO_DATA = "no data set (random input)"
_FULL_WIDTH = 64
"""Channels of the first layer of a ResNet or a VGG of full width."""
_NAMES = (("resnet", "ResNet-"), ("vgg", "VGG"), ("small_dbn", "small network"))
"""Beginning of a backbone's name -> what people call it."""


def describe_scale(record: RunRecord) -> str:
    """`ResNet-18, width 1/8, 56 px, 8 frames, 1 epoch`: network, input and training, as far as the settings of the run say."""
    settings = {**record.settings, **record.settings.get("pretraining", {})}
    training = settings.get("training", settings)
    training = training if isinstance(training, Mapping) else {}
    if settings.get("features") == "sift_fv":  # a baseline without a network
        return f"SIFT + Fisher vectors, {settings['sift']['side']} px"
    network = settings.get("network") or settings.get("detector") or {}
    frames = training.get("sampling", {}).get("frames", settings.get("frames"))
    found = [
        _network(network.get("backbone", "")),
        _width(network, settings),
        _input_size(network, training, settings),
        "all frames" if frames == 0 else _count(frames, "frame"),
        _count(network.get("clusters"), "cluster"),
        _length(training),
    ]
    return ", ".join(filter(None, found))


def name_datasets(runs: Iterable[tuple[RunChoice, RunRecord]], thesis_data: Mapping[str, str], where: str) -> str:
    """`MovingDigits (mnist)`: the data sets that these runs read, each asked for by its choice.

    A data set other than the experiment's own adds its name, and one that is not the thesis's what it stands in for:
    `MovingDigits (mnist), moving_digits_speeds, stand-in for ImageNet VID`. `thesis_data` is `Table.thesis_data`.

    Raises:
        UsageError: two runs read different contents of one data set.
    """
    texts: dict[str, None] = {}
    contents: dict[str, tuple[str, str]] = {}
    for choice, record in runs:
        for name, data in record.data.items():
            folder = data.get("folder", name)
            read = folder.partition("-")[0]
            replaced = replaced_data(folder, choice.data.get(name, name), thesis_data)
            text = f"{data['name']} ({data['source']})" + (f", {read}" if read != name else "")
            texts[text + (f", stand-in for {replaced}" if replaced else "")] = None
            first_run, digest = contents.setdefault(read, (record.run_id, data["digest"]))
            if digest != data["digest"]:
                raise UsageError(
                    f"{where}: the runs {first_run} and {record.run_id} read different contents of {read}; "
                    "remove the older record and run it again"
                )
    return "; ".join(texts)


def replaced_data(folder: str, wanted: str, thesis_data: Mapping[str, str]) -> str:
    """The data set of the thesis in whose place the one in `folder` was read; empty for the thesis's own.

    `wanted` is the data set that was asked for: where the thesis has several, the one of this name is meant.
    """
    known = {own: title for own, title in thesis_data.items() if own.partition("-")[0] == wanted} or thesis_data
    if any(folder == own or folder.startswith(f"{own}-") for own in known):
        return ""
    return " and ".join(known.values())


def _network(backbone: str) -> str:
    for start, name in _NAMES:
        if backbone.startswith(start):
            return name + backbone.removeprefix(start)
    return backbone


def _width(network: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if "embedding" in network:
        return _count(network["width"], "unit")
    if not network:
        return _count(settings.get("width") if "image_size" in settings else None, "channel")
    width = network.get("width", _FULL_WIDTH)
    return f"width 1/{_FULL_WIDTH / width:g}" if width < _FULL_WIDTH else ""


def _input_size(network: Mapping[str, Any], training: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if "height" in settings:
        return f"{settings['height']}x{settings['width']} px"
    if "min_size" in network:
        sides = dict.fromkeys((network["min_size"], network["max_size"]))
        return f"{'x'.join(map(str, sides))} px"
    side = training.get("augmentation", {}).get("size") or training.get("crop")
    side = side or settings.get("image_size") or network.get("size")
    return f"{side} px" if side else ""


def _length(training: Mapping[str, Any]) -> str:
    if training.get("iterations"):
        return _count(training["iterations"], "step")
    inside = _count(training.get("steps"), "step") or _count(training.get("images"), "image")
    epochs = _count(training.get("epochs"), "epoch")
    return f"{epochs} of {inside}" if epochs and inside else epochs


def _count(number: Any, what: str) -> str:
    """`1 frame`, `8 frames`; empty for no number."""
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""
