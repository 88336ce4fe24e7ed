"""SIFT descriptors by OpenCV, and the SIFT + Fisher vector baseline of table 4.2 (Lowe, ICCV 1999; needs the ``sift``
extra)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outlier_matching.errors import UsageError, WorkError
from outlier_matching.fisher import FisherConfig, FisherEncoder, fit_encoder

Image = Tensor | NDArray[np.uint8]


@dataclass(frozen=True)
class SiftConfig:
    """Where keypoints are looked for and how they are described.

    Attributes:
        side: images are first resized so that the shorter side has this many pixels; None: as they are. A 64-pixel
            image has few keypoints of its own.
        root: RootSIFT (Arandjelović and Zisserman, CVPR 2012): descriptors of sum 1, then the root of each entry.
        keypoints: at most this many, the strongest, of an image; 0: all.
        contrast: OpenCV's contrast threshold; Lowe's value in its scale.
        fisher: the mixture above the descriptors.
    """

    side: int | None = None
    root: bool = True
    keypoints: int = 0
    contrast: float = 0.04
    fisher: FisherConfig = field(default_factory=FisherConfig)

    def __post_init__(self) -> None:
        if (self.side is not None and self.side < 8) or self.keypoints < 0 or self.contrast < 0:
            raise ValueError("side must be 8 or more, keypoints and contrast 0 or more")


def sift_descriptors(image: Image, config: SiftConfig = SiftConfig()) -> Tensor:
    """The descriptors of one image, whatever its size.

    Args:
        image: uint8, (3, H, W) RGB as a tensor, (H, W, 3) RGB as an array, or grey (H, W) as either.
        config: how.

    Returns:
        float32 (n, 128), the keypoints in an order of their own that is the same every time; (0, 128) of an image
        without any. Entries sum to 1 as squares (RootSIFT) or are OpenCV's 0 to 255.

    Raises:
        UsageError: if OpenCV is not installed.
        ValueError: for another image.
    """
    cv2 = _opencv()
    grey = _grey(cv2, image)
    if config.side is not None:
        scale = config.side / min(grey.shape)
        size = tuple(max(1, round(scale * pixels)) for pixels in reversed(grey.shape))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    sift = cv2.SIFT_create(nfeatures=config.keypoints, contrastThreshold=config.contrast)
    keypoints, found = sift.detectAndCompute(grey, None)
    if found is None:
        return torch.zeros(0, 128)
    # Where two are equally strong, OpenCV's threads decide their order.
    order = sorted(range(len(keypoints)), key=lambda i: (*keypoints[i].pt, keypoints[i].size, keypoints[i].angle))
    descriptors = torch.from_numpy(found[order].astype(np.float32))
    if config.root:
        descriptors = (descriptors / descriptors.sum(1, keepdim=True).clamp(min=1e-12)).sqrt()
    return descriptors


def fit_sift_fisher(images: Iterable[Image], config: SiftConfig, generator: torch.Generator) -> FisherEncoder:
    """The encoder of a training set: "trained on the source domain data" in the thesis (table 4.1).

    Args:
        images: see :func:`sift_descriptors`. They are read once; of the descriptors about ``fisher.descriptors`` are
            kept in memory.
        config: how.
        generator: draws descriptors and means, on the CPU.

    Raises:
        UsageError: if OpenCV is not installed.
        WorkError: if the images together have fewer keypoints than the mixture has Gaussians.
    """
    kept, count, share = [torch.zeros(0, 128)], 0, 1.0
    for image in images:
        found = sift_descriptors(image, config)
        kept.append(found if share == 1 else found[torch.rand(len(found), generator=generator) < share])
        count += len(kept[-1])
        if count > 2 * config.fisher.descriptors:  # every descriptor so far stays with the same probability
            together = torch.cat(kept)
            kept = [together[torch.rand(len(together), generator=generator) < 0.5]]
            count, share = len(kept[0]), share / 2
    descriptors = torch.cat(kept)
    if len(descriptors) < config.fisher.clusters:
        need = f"a mixture of {config.fisher.clusters} Gaussians needs as many"
        raise WorkError(
            f"the training images have {len(descriptors)} SIFT keypoints in all; {need} (fewer, or a larger side)"
        )
    return fit_encoder(descriptors, config.fisher, generator)


def sift_fisher_features(
    images: Iterable[Image], encoder: FisherEncoder, config: SiftConfig, batch: int = 64
) -> Tensor:
    """The Fisher vector of each image, (images, 2 K P), in the order given; of length 1, or 0 for an image without
    keypoints.

    Raises:
        UsageError: if OpenCV is not installed.
    """
    device = encoder.mixture.means.device
    parts, waiting = [encoder.encode([])], []
    for image in images:
        waiting.append(sift_descriptors(image, config).to(device))
        if len(waiting) == batch:
            parts.append(encoder.encode(waiting, batch))
            waiting = []
    return torch.cat([*parts, encoder.encode(waiting, batch)])


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UsageError("SIFT needs OpenCV: install outlier_matching[sift]") from error
    return cv2


def _grey(cv2: Any, image: Image) -> NDArray[np.uint8]:
    pixels = (
        image.cpu().permute(1, 2, 0).numpy() if isinstance(image, Tensor) and image.dim() == 3 else np.asarray(image)
    )
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (2, 3)
        or (pixels.ndim == 3 and pixels.shape[2] != 3)
        or not pixels.size
    ):
        got = f"{image.dtype} {tuple(image.shape)}"
        raise ValueError(f"an image must be uint8: a tensor (3, H, W), an array (H, W, 3) or grey (H, W); got {got}")
    pixels = np.ascontiguousarray(pixels)
    grey: NDArray[np.uint8] = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return grey
