"""Base of the detectors of clips: a current frame, reference frames, one set of detections."""

from typing import Any, TypeVar

from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from location_anticipation.inference.model_runner import ModelRunner
from location_anticipation.model.config import DetectorConfig
from location_anticipation.model.detector import AnticipationRCNN
from location_anticipation.peers.config import PeerConfig

M = TypeVar("M", bound=AnticipationRCNN)

Features = dict[str, Tensor]
"""Feature maps (B, C, h, w) by the name of their level."""
Size = tuple[int, int]


class ClipDetector(AnticipationRCNN):
    """A Faster R-CNN that looks at several frames to detect the objects of one.

    ``model(clips, targets)`` follows torchvision's detectors, with a clip in the place of an image: (1 + R, 3, H, W) in
    [0, 1], the current frame first and its R references after it, R the same throughout a call. Targets and
    detections are those of the current frames. A single image (3, H, W) is a clip without references. Losses have
    torchvision's names and order.
    """

    def __init__(self, detector: DetectorConfig, peer: PeerConfig) -> None:
        super().__init__(detector)
        self.peer = peer

    def forward(
        self, clips: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, detections in inference.

        Raises:
            ValueError: in training without targets, or for clips of different lengths.
        """
        clips = [clip[None] if clip.ndim == 3 else clip for clip in clips]
        lengths = {len(clip) for clip in clips}
        if len(lengths) != 1:
            raise ValueError(f"clips of one call need the same number of frames, got {sorted(lengths)}")
        if self.training and targets is None:
            raise ValueError("targets are needed in training")
        originals = [(int(clip.shape[-2]), int(clip.shape[-1])) for clip in clips]
        frames = [clip[i] for i in range(lengths.pop()) for clip in clips]
        if targets is not None:
            nothing = {"boxes": targets[0]["boxes"].new_zeros(0, 4)}
            targets = [*targets, *[nothing] * (len(frames) - len(clips))]
        images, targets = self.transform(frames, targets)
        groups = list(images.tensors.split(len(clips)))
        sizes = images.image_sizes[: len(clips)]
        current = ImageList(groups[0], sizes)
        current_targets = None if targets is None else targets[: len(clips)]
        detections, losses = self._run(current, groups[1:], images.image_sizes[len(clips) :], current_targets)
        if self.training:
            return losses
        result: list[dict[str, Tensor]] = self.transform.postprocess(detections, sizes, originals)
        return result

    def _run(
        self,
        current: ImageList,
        references: list[Tensor],
        reference_sizes: list[Size],
        targets: list[dict[str, Tensor]] | None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections and losses of B current frames; ``references`` holds R batches of B prepared frames."""
        return self._heads(self.clip_features(current.tensors, references), current, targets)

    def clip_features(self, current: Tensor, references: list[Tensor]) -> Features:
        """Feature maps that RPN and RoI heads read for the current frames (B, 3, H, W), with R batches of references."""
        raise NotImplementedError

    def frame_features(self, images: Tensor) -> Features:
        """Feature maps of frames by themselves."""
        return dict(self.backbone(images))

    def _heads(
        self, features: Features, images: ImageList, targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        proposals, proposal_losses = self.rpn(images, features, targets)
        detections, detector_losses = self.roi_heads(features, proposals, images.image_sizes, targets)
        return detections, {**detector_losses, **proposal_losses}

    def prepare(self, image: Tensor) -> ImageList:
        """One frame (3, H, W), normalised, resized and padded as the network takes it."""
        images, _ = self.transform([image])
        return images

    def detect(self, features: Features, images: ImageList, original: Size) -> dict[str, Tensor]:
        """Detections of one frame (height, width) from its feature maps, in pixels of the frame."""
        detections, _ = self._heads(features, images, None)
        return dict(self.transform.postprocess(detections, images.image_sizes, [original])[0])


class PeerRunner(ModelRunner[M]):
    """A peer on the frames of a stream; ``options`` are those of the ``ModelRunner``."""

    def __init__(self, model: M, peer: PeerConfig, **options: Any) -> None:
        super().__init__(model, **options)
        self.peer = peer
