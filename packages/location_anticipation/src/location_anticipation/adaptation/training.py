"""Training a trajectory head on what a detector found in videos: no annotation, and the detector stays as it is."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torchvision.ops import generalized_box_iou_loss

from efficiency_core.loop import Accelerator, Task, rate_at, recipe, resolved, run, torch_seed
from location_anticipation.adaptation.config import AdaptConfig, MotionConfig
from location_anticipation.adaptation.motion_head import MotionHead
from location_anticipation.adaptation.observation import Observation
from location_anticipation.adaptation.samples import Batch, Samples


def adapt(
    videos: Sequence[Observation], motion: MotionConfig, config: AdaptConfig, folder: str | Path, device: str = "cpu"
) -> MotionHead:
    """Train a trajectory head, or continue the training that ``folder`` holds (:func:`efficiency_core.loop.run`).

    Keyframes are drawn from all observed frames, and the keyframe before lies 1 to T + 1 frames back. Boxes that the detector
    links to a track (:class:`~location_anticipation.adaptation.linking.Tracks`) are the supervision.

    Args:
        videos: what the detector found.
        motion: what the head sees and predicts.
        config: the recipe.
        folder: where checkpoints go.
        device: ``cpu`` or ``cuda``.

    Raises:
        UsageError: if ``folder`` holds another training, or no object is found in two observed frames.
        WorkError: if a loss is not finite, or a file cannot be written.
    """
    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        task = _Adaptation(videos, motion, config, accelerator)
        fingerprint = {
            "motion": asdict(motion),
            "train": recipe(config, "iterations"),
            "videos": [_digest(v) for v in videos],
        }
        run(task, config, folder, fingerprint)
    return task.model.eval().cpu()


def _digest(video: Observation) -> list[Any]:
    return [
        *video.size,
        video.every,
        video.frames,
        *(float(torch.cat(v).double().sum()) for v in (video.boxes, video.scores)),
    ]


class _Adaptation(Task[Batch]):
    name = "location_anticipation.adaptation"
    model: MotionHead

    def __init__(
        self, videos: Sequence[Observation], motion: MotionConfig, config: AdaptConfig, accelerator: Accelerator
    ) -> None:
        self._samples, self._config, self.accelerator = Samples(videos, motion, config), config, accelerator
        self.loss_names = ("loss_trajectory",)
        self.total, self.batch_size, self.clip_norm = config.iterations, config.batch_size, config.clip_norm
        self.epoch_steps = config.iterations
        accelerator.seed(config.seed, 0)
        self.model = MotionHead(motion, self._samples.whole.features.shape[1]).to(accelerator.device)
        self.optimizers = (AdamW(self.model.parameters(), config.learning_rate, weight_decay=config.weight_decay),)

    def batch(self, step: int) -> Batch:
        """The boxes of this process's share of ``batch_size`` keyframes."""
        generator = torch.Generator().manual_seed(torch_seed(self._config.seed, step + 1))
        drawn = torch.rand(self.batch_size, 3, generator=generator)
        return self._samples.boxes_of(torch.stack(list(self.accelerator.part(list(drawn)))))

    def rate(self, step: int, total: int) -> float:
        """Linear warm-up over a tenth of the steps, then half a cosine."""
        return rate_at(step, total, self._config.learning_rate, warmup=max(total // 10, 1), schedule="cosine")

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The mean over anticipated boxes that the detector has found too."""
        *known, true_boxes, valid = (value.to(self.accelerator.device) for value in batch)
        raw, boxes = self.accelerator.forward(self.model, *known), known[0]
        if self._config.loss == "traj":
            loss = self.model.criterion(true_boxes, boxes, raw, valid).sum()
        else:
            anticipated = self.model.boxes_from(boxes, raw)
            loss = (generalized_box_iou_loss(anticipated, true_boxes[:, 1:]) * valid[:, 1:]).sum()
        return {"loss_trajectory": loss / valid[:, 1:].sum().clamp(min=1)}
