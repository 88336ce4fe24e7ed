"""A detector of single images that anticipates, by a trajectory head that was learned for it; and the file of the head."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from efficiency_core.errors import UsageError
from efficiency_core.network_file import config_from, load_network, restored, save_network
from location_anticipation.adaptation.config import MotionConfig
from location_anticipation.adaptation.motion_head import MotionHead, box_motion
from location_anticipation.adaptation.pooled_features import PooledFeatures
from location_anticipation.detectors import NamedDetector
from location_anticipation.inference.stream import Earlier

_FORMAT = "location_anticipation.trajectories/1"


class AnticipatingDetector(nn.Module):
    """Any detector with trajectories; its boxes, labels and scores are those of the detector, bit for bit.

    Args:
        detector: called as torchvision's detectors are; it is not trained.
        pool: features of boxes, ``pool(image, boxes)``.
        head: the trajectory head.
    """

    remembers = True
    """:class:`~location_anticipation.inference.stream.VideoDetector` hands over what the last keyframe has shown."""

    def __init__(self, detector: nn.Module, pool: nn.Module, head: MotionHead) -> None:
        super().__init__()
        self.detector, self.pool, self.head = detector, pool, head

    @property
    def horizon(self) -> int:
        """T, the number of future steps in every trajectory."""
        return self.head.config.horizon

    def forward(
        self, images: Sequence[Tensor], earlier: Sequence[Earlier | None] | None = None
    ) -> list[dict[str, Tensor]]:
        """Detections of images (3, H, W) in [0, 1], with ``trajectories`` (N, T, 4), clipped to the image.

        ``earlier`` holds for each image what the last keyframe of its video has shown, or None.
        """
        before = earlier or [None] * len(images)
        return [
            {**found, "trajectories": self._trajectories(image, found, last)}
            for image, found, last in zip(images, self.detector(images), before, strict=True)
        ]

    def _trajectories(self, image: Tensor, found: dict[str, Tensor], last: Earlier | None) -> Tensor:
        boxes, config = found["boxes"].float(), self.head.config
        height, width = image.shape[-2:]
        with torch.autocast(image.device.type, enabled=False):  # pixels do not fit eight bits
            motion = box_motion(boxes, found["labels"], last, config.horizon, config.match_iou)
            sizes = boxes.new_tensor([width, height]).expand(len(boxes), 2)
            raw = self.head(boxes, found["scores"].float(), self.pool(image, boxes), motion, sizes)
            return clip_boxes_to_image(self.head.boxes_from(boxes, raw), (height, width))


def save_trajectories(path: str | Path, model: AnticipatingDetector, detector: str) -> None:
    """Write head and backbone with their settings and the name of the detector; not the detector itself.

    Raises:
        WorkError: if the file cannot be written.
    """
    parts = {"pool": model.pool, "head": model.head}
    state = {f"{part}.{key}": value for part, module in parts.items() for key, value in module.state_dict().items()}
    save_network(path, _FORMAT, asdict(model.head.config), {"detector": detector}, state)


def load_anticipating(path: str | Path, detector: NamedDetector) -> AnticipatingDetector:
    """A detector with the trajectory head that was learned for it, in eval mode.

    Raises:
        UsageError: if the file is missing or damaged, or its head was learned for another detector.
    """
    stored = load_network(path, _FORMAT)
    config = config_from(MotionConfig, stored.config, path)
    if stored.facts["detector"] != detector.name:
        raise UsageError(f"{path}: was learned for {stored.facts['detector']}, not for {detector.name}")
    parts = restored(path, lambda: _parts(config), stored.state)
    return AnticipatingDetector(detector.model, parts["pool"], parts["head"]).eval()  # type: ignore[arg-type]


def _parts(config: MotionConfig) -> nn.ModuleDict:
    pool = PooledFeatures(config)
    return nn.ModuleDict({"pool": pool, "head": MotionHead(config, pool.length)})
