"""Training of DeepLabv3 on pictures with a class for every pixel."""

from collections.abc import Callable
from pathlib import Path

import torch

from efficiency_core import loop
from efficiency_core.errors import UsageError, checking
from efficiency_core.loop import Accelerator, resolved
from efficiency_core.settings import to_json
from weight_align.checkpoint import save_network, start_weights
from weight_align.data import IGNORED, MaskSet, MaskTensor
from weight_align.networks import DeepLab, HeadConfig, NetworkConfig, build_deeplab
from weight_align.training.batches import Batch
from weight_align.training.classification import fingerprint_of, network_metadata, with_classes
from weight_align.training.config import SegmentationConfig
from weight_align.training.evaluation import evaluate_segmentation
from weight_align.training.normalisation import IMAGENET, Normalisation
from weight_align.training.sgd import NETWORK, SingleTask, Trained, start_seed
from weight_align.training.views import MaskBatches


def train_segmentation(
    images: MaskSet, network: NetworkConfig, config: SegmentationConfig, folder: str | Path, device: str = "cpu",
    weights: str | Path | None = None, *, head: HeadConfig | None = None, validation: MaskSet | None = None,
    after_epoch: Callable[[int, DeepLab], None] | None = None,
) -> Trained[DeepLab]:  # fmt: skip
    """Train a DeepLabv3, or continue the training that ``folder`` holds; see :func:`~weight_align.training.train`.
    Raises UsageError, WorkError as :func:`~weight_align.training.train`.

    Args:
        network: the ResNet; ``classes`` 0 stands for those of the masks.
        weights: weights of a trained classifier for the ResNet, see :func:`~weight_align.checkpoint.start_weights`; None is
            random.
        head: the part after the ResNet.
        validation: pictures and masks; the network with the highest mean intersection over union is kept in
            ``best.safetensors``.
        after_epoch: called with the number of finished epochs and the network in eval mode; first with 0."""
    head, info = head or HeadConfig(), images.info
    network = with_classes(network, info)
    if validation is not None:
        with_classes(network, validation.info)
    if config.images > len(images):
        raise UsageError(f"{info.name} has {len(images)} images, {config.images} are asked for")
    count = config.images or len(images)
    if count < config.batch_size:
        raise UsageError(f"{info.name} has {count} images to train on, a batch needs {config.batch_size}")
    if network.norm == "bn" and config.batch_size == 1:
        raise UsageError(
            "norm=bn cannot train on one picture at a time: the mean over it has no deviation; take batch_size=2"
        )
    normalisation = _normalisation(images, count, config)
    state = start_weights(weights, network)
    metadata = network_metadata(info, normalisation)

    def save(path: Path, model: DeepLab) -> None:
        save_network(path, model, metadata)

    def mean_iou(model: DeepLab) -> float:
        assert validation is not None
        scores = evaluate_segmentation(model, validation, normalisation=normalisation, device=accelerator.device)
        return scores.mean_iou

    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        torch.manual_seed(start_seed(config.seed))
        with checking(weights or ""):
            model = build_deeplab(network, head, state).to(accelerator.device)
        task = SegmentationTask(
            model, config, MaskBatches(images, count, config, normalisation, accelerator), accelerator,
            after_epoch=after_epoch, save=save, validation=None if validation is None else ("mean_iou", mean_iou),
        )  # fmt: skip
        same = fingerprint_of(config, info, count, weights, network=to_json(network), head=to_json(head))
        result = loop.run(task, config, folder, same)
        if accelerator.main:
            save(Path(folder) / NETWORK, model.eval())
    return Trained.of(model, normalisation, result, task.epoch_steps)


class SegmentationTask(SingleTask[DeepLab]):
    """SGD of a DeepLabv3."""

    smaller_is_better = False

    def weight(self, batch: Batch) -> float:
        """Number of valid pixels of this process, so that gradients are those of the mean over all valid pixels."""
        if self.accelerator.world == 1:
            return 1.0
        return max(float((batch[1] != IGNORED).sum()), 1e-3)  # a batch without valid pixels is still a step

    def summary(self, rows: list[list[float]], weights: list[float]) -> list[float]:
        return super().summary(rows, [1.0] * len(rows))


def _normalisation(images: MaskSet, count: int, config: SegmentationConfig) -> Normalisation:
    if config.normalisation == "imagenet":
        return IMAGENET
    if not isinstance(images, MaskTensor):
        raise UsageError(
            f"{images.info.name}: pictures that are read on demand have no mean colour; set normalisation=imagenet"
        )
    return Normalisation.of(images.images[:count])
