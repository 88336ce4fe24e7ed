"""``weight-align``: train and evaluate networks, convert trained networks, and fold them."""

import sys

try:
    from efficiency_core.command import CONTINUES, Command, Program
except ModuleNotFoundError:
    sys.exit('error: weight-align needs an extra: pip install "weight_align[train]"')

_ROOM = "weight_align.commands"


def _trains(name: str, summary: str) -> Command:
    options = f"{_ROOM}.options:{name.title().replace('_', '')}Options"
    return Command(summary, options, f"{_ROOM}.train:{name}", device=True, interrupted=CONTINUES)


program = Program(
    "weight-align",
    "Normalise the activations of networks through their weights.",
    {
        "train": _trains("train", "train a classifier with any norm, with or without WeightAlign"),
        "train-segmentation": _trains("train_segmentation", "train DeepLabv3 on pictures with masks"),
        "evaluate": Command(
            "measure the errors of a trained network", f"{_ROOM}.options:EvaluateOptions", f"{_ROOM}.evaluate:run",
            device=True,
        ),
        "convert": Command(
            "align the weights of a trained network, to fine-tune it", f"{_ROOM}.options:ConvertOptions",
            f"{_ROOM}.convert:run",
        ),
        "fold": Command(
            "turn an aligned network into one of plain layers with the same outputs", f"{_ROOM}.options:FoldOptions",
            f"{_ROOM}.fold:run",
        ),
    },
    package="weight_align",
    # Fixup's first steps are full of numbers below 1e-38.
    flush_denormal=True,
)  # fmt: skip
main, command = program.main, program.command
