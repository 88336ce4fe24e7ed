"""Training a detector: the :class:`~efficiency_core.loop.task.Task` of the one training loop."""

import hashlib
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from efficiency_core.devices import convolution_layout
from efficiency_core.errors import UsageError, WorkError, checking
from efficiency_core.loop import Accelerator, Task, epoch_order, map_tensors, rate_at, recipe, resolved, run, torch_seed
from efficiency_core.network_file import read_state
from location_anticipation.checkpoint import save_detector
from location_anticipation.data.keyframes import Keyframes
from location_anticipation.data.videos import Videos
from location_anticipation.metrics.evaluation import evaluate, evaluate_method, keyframe_places
from location_anticipation.model.config import DetectorConfig
from location_anticipation.model.detector import AnticipationRCNN
from location_anticipation.peers.build import build_peer, video_method
from location_anticipation.peers.clips import Clips
from location_anticipation.peers.config import CLIP_METHODS, PeerConfig
from location_anticipation.shared_sampling import SharedSampling
from location_anticipation.train_config import TrainConfig

_log = logging.getLogger(__name__)

Batch = tuple[list[Tensor], list[dict[str, Tensor]], Tensor]
"""Images or clips, their targets, and torch's random state (on the CPU) for the step."""
_INPUTS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class TrainResult:
    """Result of a finished training."""

    model: AnticipationRCNN
    """The trained detector, in eval mode."""
    seconds_per_keyframe: float
    """Wall time of the training steps, divided by the keyframes they saw; checkpoints not counted."""
    losses: dict[str, float]
    """Each loss, averaged over the last tenth of the run (at least ten steps where there are as many)."""


def batch_indices(size: int, batch: int, step: int, seed: int) -> list[int]:
    """Which of ``size`` samples make the batch of a step.

    Samples come in a new random order every epoch; a batch may reach over the end of one.
    """
    wanted = range(step * batch, (step + 1) * batch)
    return [int(epoch_order(size, seed, position // size)[position % size]) for position in wanted]


def train(
    data: Keyframes,
    detector: DetectorConfig,
    config: TrainConfig,
    folder: str | Path,
    *,
    peer: PeerConfig | None = None,
    device: str = "cpu",
    validation: Videos | None = None,
    init: str | Path | None = None,
    freeze: bool = False,
) -> TrainResult:
    """Train a detector, or continue the training that ``folder`` holds.

    ``folder/detector.safetensors`` is written at the end; ``folder/frames`` holds the keyframes of annotations whose frames
    are in video files. For the other files see :func:`efficiency_core.loop.run`. The same
    call on a folder whose run was stopped at any moment continues from its last checkpoint and ends with the same weights as
    an uninterrupted run (bit-equal on the CPU with the same number of threads).

    Args:
        data: the keyframes; for a peer what :func:`location_anticipation.peers.training_data` makes of the videos.
        detector: the model; ``num_classes`` 0 becomes the number of the data's classes.
        config: the recipe.
        folder: where checkpoints go.
        peer: the method. The key box methods among the peers train the plain detector: one folder serves all of them.
        device: ``cpu`` or ``cuda``.
        validation: annotated videos; the network with the highest mAP on them is kept as ``folder/best.safetensors``.
        init: weights that the detector starts from: a ``detector.safetensors``, or a ``state_dict`` of torchvision's
            Faster R-CNN of the same shape. Entries of another shape, such as the classifier of other classes, start from
            random weights, and the log names them.
        freeze: train the trajectory head alone; the detector stays as it is, bit for bit.

    Raises:
        UsageError: if ``folder`` holds a run with other settings or other data, if images are missing, if the data does not
            fit the model, or if the model cannot be built as asked.
        WorkError: if a loss or a gradient is not finite, or a file cannot be written; the last checkpoint stays.
    """
    classes = len(data.videos.info.class_names)
    detector = replace(detector, num_classes=detector.num_classes or classes)
    peer = peer if peer is not None and peer.method in CLIP_METHODS else PeerConfig()
    if (data.peer if isinstance(data, Clips) else PeerConfig()) != peer:
        raise UsageError("the data and the model belong to different methods; make the data of a peer by training_data")
    if classes != detector.num_classes:
        raise UsageError(f"{data.videos.path} has {classes} classes, the detector is asked for {detector.num_classes}")
    if data.horizon != detector.horizon:
        raise UsageError(
            f"the data has trajectories of {data.horizon} steps, the detector's horizon is {detector.horizon}"
        )
    clips = isinstance(data, Clips)
    frames = _every_frame(data.videos) if clips else data.index
    data.videos.check_frames(frames)
    if validation is not None:
        step = max(detector.horizon, 1)
        validation.check_frames(_every_frame(validation) if clips else keyframe_places(validation, step))
    folder = Path(folder)
    data.videos.extract(frames, folder / "frames")  # before the processes of other devices start
    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        task = _Detection(data, detector, peer, config, accelerator, validation)
        started = {} if init is None and not freeze else {"init": task.start_from(init), "freeze": freeze}
        task.freeze(freeze)
        fingerprint = started | {
            "detector": asdict(detector),
            "peer": asdict(peer),
            "train": recipe(config, "iterations"),
            "data": {
                "content_digest": data.videos.info.content_digest,
                "supervision": asdict(data.supervision),
                "seed": data.seed,
                "keyframes": len(data),
            },
        }
        result = run(task, config, folder, fingerprint)
        if accelerator.main:
            task.save(folder / "detector.safetensors")
    tail = result.history[-max(config.iterations // 10, min(10, config.iterations)) :]
    averages = np.mean(np.asarray(tail), axis=0)
    seconds = result.seconds / (config.iterations * config.batch_size)
    return TrainResult(task.model.eval(), seconds, dict(zip(task.loss_names, averages.tolist(), strict=True)))


def _every_frame(videos: Videos) -> list[tuple[int, int]]:
    return [(video, time) for video in range(len(videos)) for time in range(len(videos.tracks(video).annotated))]


class _Detection(Task[Batch]):
    """Gradient steps of a detector on keyframes or clips."""

    name = "location_anticipation"
    model: AnticipationRCNN

    def __init__(
        self,
        data: Keyframes,
        detector: DetectorConfig,
        peer: PeerConfig,
        config: TrainConfig,
        accelerator: Accelerator,
        validation: Videos | None,
    ) -> None:
        self._data, self._config, self._videos = data, config, validation
        self.validation = None if validation is None else "video_map"
        self.accelerator = accelerator
        self.clip_norm = config.clip_norm
        self.total, self.batch_size = config.iterations, config.batch_size
        self.epoch_steps = -(-len(data) // config.batch_size)
        trajectory = ("loss_trajectory",) if detector.horizon else ()
        self.loss_names = ("loss_classifier", "loss_box_reg", *trajectory, "loss_objectness", "loss_rpn_box_reg")
        accelerator.seed(config.seed, 0)
        try:
            with checking():
                weights = config.backbone_weights
                model = build_peer(detector, peer, read_state(weights) if Path(weights).suffix else weights or None)
        except ConnectionError as error:
            raise WorkError(str(error)) from error
        self.model = model.to(accelerator.device)
        if accelerator.device.type == "cpu":
            self.model.to(memory_format=convolution_layout(model, "cpu"))  # type: ignore[call-overload]
        self._sampling = SharedSampling(self.model, accelerator) if accelerator.world > 1 else None

    def start_from(self, init: str | Path | None) -> str | None:
        """Load the weights of a file; returns their digest."""
        if init is None:
            return None
        state, own = read_state(init), self.model.state_dict()
        fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
        if not any(name.startswith("backbone.") for name in fitting):
            raise UsageError(
                f"{init}: holds no weights of this detector's backbone; expected a detector of the same shape"
            )
        left = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
        if left:
            _log.info("%s: %d entries start from random weights: %s", init, len(left), ", ".join(left))
        self.model.load_state_dict(fitting, strict=False)
        digest = hashlib.sha256()
        for name in sorted(fitting):
            digest.update(fitting[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def freeze(self, frozen: bool) -> None:
        """Choose what is trained: all, or the trajectory head alone."""
        self._frozen = frozen
        head = self.model.roi_heads.trajectory_head
        if frozen and head is None:
            raise UsageError("only the trajectory head would be trained, and this detector has none")
        parameters = [p for p in (head if frozen and head is not None else self.model).parameters() if p.requires_grad]
        if frozen:
            self.model.requires_grad_(False)
            for parameter in parameters:
                parameter.requires_grad_(True)
        config = self._config
        # Fused: one pass over weights, gradients and momentum. For a small batch the optimizer is half of a step.
        sgd = SGD(parameters, config.learning_rate, config.momentum, weight_decay=config.weight_decay, fused=True)
        self.optimizers = (sgd,)

    def train_mode(self) -> None:
        """Training mode; batch normalisation of a frozen detector keeps its statistics."""
        self.model.train()
        for module in self.model.modules() if self._frozen else ():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def batch(self, step: int) -> Batch:
        """Images (3, H, W) or clips (1 + R, 3, H, W) of this process, and their targets."""
        generator = torch.Generator().manual_seed(torch_seed(self._config.seed, step + 1))
        items = batch_indices(len(self._data), self.batch_size, step, self._config.seed)
        drawn = [(item, self._data.draw(item, generator)) for item in items]
        images, targets = zip(*(self._data.read(*own) for own in self.accelerator.part(drawn)), strict=True)
        return list(images), list(targets), generator.get_state()

    def rate(self, step: int, total: int) -> float:
        """Warm-up, then constant and a tenth, or a cosine."""
        config = self._config
        drops = (config.decay_from * total,)
        return rate_at(step, total, config.learning_rate, warmup=config.warmup, schedule=config.schedule, drops=drops)

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Losses of torchvision's detectors, and of the trajectories."""
        images, targets, state = batch
        torch.set_rng_state(state)  # references of clips have been drawn
        images, targets = map_tensors(self._input, (images, targets))
        if self._sampling is not None:
            frames = self.batch_size * (1 if images[0].ndim == 3 else len(images[0]))
            self._sampling.start_step(torch_seed(self._config.seed, step + 1), frames)
        losses: dict[str, Tensor] = self.accelerator.forward(self.model, images, targets)
        return losses if self._sampling is None else self._sampling.weighted(losses)

    def _input(self, value: Tensor) -> Tensor:
        """On the device; with mixed precision, pixels and boxes are rounded to that type, as Lightning's Fabric does."""
        value = value.to(self.accelerator.device, non_blocking=True)
        return value.to(_INPUTS[self._config.precision]) if value.is_floating_point() else value

    def validate(self) -> float:
        """mAP of every annotated frame, COCO's, with keyframes as far apart as the detector anticipates."""
        model, videos = self.model, self._videos
        assert videos is not None
        if isinstance(self._data, Clips):
            return evaluate_method(video_method(self._data.peer, model), videos).scores.overall["coco"].map
        return evaluate(model, videos, keyframe_step=max(model.horizon, 1), device=self.accelerator.device).video_map

    def save(self, path: Path) -> None:
        """Write the network to hand on."""
        info = self._data.videos.info
        save_detector(path, self.model, info.class_names, info.category_ids)
