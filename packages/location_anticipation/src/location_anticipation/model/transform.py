"""torchvision's image transform, extended to trajectories."""

from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes


def _resize(trajectories: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    flat: Tensor = resize_boxes(trajectories.flatten(0, 1), list(old), list(new))
    return flat.view_as(trajectories)


class TrajectoryTransform(GeneralizedRCNNTransform):
    """Resizes ``trajectories`` (N, T, 4) together with ``boxes``, into the network's input and back.

    Sizes are those of the image, without the padding that makes the batch divisible; (padding counted in would move
    every box by the share of the image that is padding).
    """

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        old = (int(image.shape[-2]), int(image.shape[-1]))
        image, target = super().resize(image, target)
        if target is not None and "trajectories" in target:
            new = (int(image.shape[-2]), int(image.shape[-1]))
            target["trajectories"] = _resize(target["trajectories"], old, new)
        return image, target

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        result = super().postprocess(result, image_shapes, original_image_sizes)
        if not self.training:
            for detection, old, new in zip(result, image_shapes, original_image_sizes, strict=True):
                if "trajectories" in detection:
                    detection["trajectories"] = _resize(detection["trajectories"], old, new)
        return result
