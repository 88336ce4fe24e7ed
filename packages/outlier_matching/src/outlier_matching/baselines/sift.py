"""SIFT descriptors by OpenCV (Lowe, ICCV 1999; extra ``sift``) and the SIFT + Fisher vector baseline of table 4.2."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outlier_matching.baselines.config import SiftConfig
from outlier_matching.baselines.fisher import FisherEncoder, fit_encoder

Image = Tensor | NDArray[np.uint8]


def sift_descriptors(image: Image, config: SiftConfig) -> Tensor:
    """The descriptors of one image of any size. Returns float32 (n, 128), in an order that is the same every time; n is
    0 for an image without keypoints. The squares of a RootSIFT descriptor sum to 1; other descriptors have OpenCV's
    range 0 to 255. Raises ModuleNotFoundError if OpenCV is not installed; ValueError for another image. ``image``:
    uint8: an RGB tensor (3, H, W), an RGB array (H, W, 3), or grey (H, W) as either."""
    try:
        import cv2
    except ImportError as error:
        raise ModuleNotFoundError('SIFT needs OpenCV: pip install "outlier_matching[sift]"', name="cv2") from error
    grey: Any = _pixels(image)
    if grey.ndim == 3:
        grey = cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)
    if config.side is not None:
        scale = config.side / min(grey.shape)
        size = tuple(max(1, round(scale * pixels)) for pixels in reversed(grey.shape))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    sift = cv2.SIFT_create(nfeatures=config.keypoints, contrastThreshold=config.contrast)  # type: ignore[attr-defined]
    keypoints, found = sift.detectAndCompute(grey, None)
    if found is None:
        return torch.zeros(0, 128)
    # The order of equally strong keypoints depends on OpenCV's threads.
    order = sorted(range(len(keypoints)), key=lambda i: (*keypoints[i].pt, keypoints[i].size, keypoints[i].angle))
    descriptors = torch.from_numpy(found[order].astype(np.float32))
    if config.root:
        descriptors = (descriptors / descriptors.sum(1, keepdim=True).clamp(min=1e-12)).sqrt()
    return descriptors


def fit_sift_fisher(images: Iterable[Image], config: SiftConfig, generator: torch.Generator) -> FisherEncoder:
    """The encoder of a training set; the thesis trains it on source images (table 4.1). Raises ModuleNotFoundError if
    OpenCV is not installed; ValueError if the images have fewer keypoints than the mixture has Gaussians. ``images``:
    see :func:`sift_descriptors`. They are read once. At most twice ``fisher.descriptors`` descriptors are held.
    ``generator``: draws descriptors and means, on the CPU."""
    kept, count, share = [torch.zeros(0, 128)], 0, 1.0
    for image in images:
        found = sift_descriptors(image, config)
        kept.append(found if share == 1 else found[torch.rand(len(found), generator=generator) < share])
        count += len(kept[-1])
        if count > 2 * config.fisher.descriptors:  # every descriptor so far is kept with the same probability
            together = torch.cat(kept)
            kept = [together[torch.rand(len(together), generator=generator) < 0.5]]
            count, share = len(kept[0]), share / 2
    descriptors = torch.cat(kept)
    if len(descriptors) < config.fisher.clusters:
        raise ValueError(
            f"the training images have {len(descriptors)} SIFT keypoints in all, but the mixture has "
            f"{config.fisher.clusters} Gaussians: use fewer Gaussians or a larger side"
        )
    return fit_encoder(descriptors, config.fisher, generator)


def sift_fisher_features(
    images: Iterable[Image], encoder: FisherEncoder, config: SiftConfig, batch: int = 64
) -> Tensor:
    """The Fisher vector of each image, (images, 2 K P). It has length 1, or is 0 for an image without keypoints. Raises
    ModuleNotFoundError if OpenCV is not installed."""
    device = encoder.mixture.means.device
    parts, waiting = [encoder.encode([])], []
    for image in images:
        waiting.append(sift_descriptors(image, config).to(device))
        if len(waiting) == batch:
            parts.append(encoder.encode(waiting, batch))
            waiting = []
    return torch.cat([*parts, encoder.encode(waiting, batch)])


def _pixels(image: Image) -> NDArray[np.uint8]:
    pixels = (
        image.cpu().permute(1, 2, 0).numpy() if isinstance(image, Tensor) and image.dim() == 3 else np.asarray(image)
    )
    if pixels.dtype != np.uint8 or not pixels.size or pixels.ndim < 2 or pixels.shape[2:] not in ((), (3,)):
        got = f"{image.dtype} {tuple(image.shape)}"
        raise ValueError(f"an image must be uint8: a tensor (3, H, W), an array (H, W, 3) or grey (H, W); got {got}")
    return np.ascontiguousarray(pixels)
