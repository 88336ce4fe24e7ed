"""Training of networks."""

from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from efficiency_core.loop import BEST
from weight_align.commands.data import open_data
from weight_align.commands.options import TrainOptions, TrainSegmentationOptions
from weight_align.training import Trained, classification, segmentation
from weight_align.training.config import TrainConfig
from weight_align.training.sgd import NETWORK


def train(options: TrainOptions, device: str) -> None:
    """Train a classifier, or one for each of several seeds; print losses and paths of the networks."""
    images, validation = _opened(options, masks=False)
    shared = (images, options.network, options.training, options.out)
    if not options.seeds:
        result = classification.train(*shared, device, options.weights, validation=validation)
        return _report(options.out, {"": result})
    if options.training.seed != TrainConfig().seed or validation is not None:
        raise UsageError("--seeds goes without --training.seed and --validation")
    trained = classification.train_seeds(*shared, options.seeds, device, options.weights)
    _report(options.out, {f"seed-{seed}": result for seed, result in zip(options.seeds, trained, strict=True)})


def train_segmentation(options: TrainSegmentationOptions, device: str) -> None:
    """Train DeepLabv3; print its loss and its path."""
    images, validation = _opened(options, masks=True)
    result = segmentation.train_segmentation(
        images, options.network, options.training, options.out, device, options.weights, head=options.head,
        validation=validation,
    )  # fmt: skip
    _report(options.out, {"": result})


def _opened(options: TrainOptions | TrainSegmentationOptions, masks: bool) -> tuple[Any, Any]:
    """Images for training, and for validation or None."""
    images = open_data(options.data, options, options.split, masks)
    split = options.validation
    return images, None if split is None else open_data(options.data, options, split, masks)


def _report(out: Path, results: dict[str, Trained[Any]]) -> None:
    for name, result in results.items():
        print(f"{f'loss {name}':17}  {result.losses[-1]:.4f}")
    first = next(iter(results.values()))
    print(f"seconds per epoch  {first.seconds_per_epoch:.1f}")
    print(f"steps per second   {first.steps_per_second:.2f}")
    if first.best is not None:
        print(f"best validation    {first.best[1]:.2f} % after {first.best[0]} steps, {out / BEST}")
    for name in results:
        print(out / name / NETWORK)
