"""SIFT descriptors and the Fisher vector pipeline above them; OpenCV is an extra, and without it the error says so."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from outlier_matching.baselines.config import FisherConfig, SiftConfig
from outlier_matching.baselines.sift import fit_sift_fisher, sift_descriptors, sift_fisher_features

CONFIG = SiftConfig()


def picture(seed: int, size: int = 96) -> Tensor:
    """Random rectangles on white: uint8 (3, size, size)."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 255, np.uint8)
    for _ in range(8):
        top, left = rng.integers(0, size - 20, 2)
        height, width = rng.integers(8, 20, 2)
        image[top : top + height, left : left + width] = rng.integers(0, 200, 3)
    return torch.from_numpy(image).permute(2, 0, 1)


def test_without_opencv_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"outlier_matching\[sift\]"):
        sift_descriptors(picture(0), CONFIG)


def test_descriptors() -> None:
    pytest.importorskip("cv2")
    found = sift_descriptors(picture(0), CONFIG)
    assert found.shape[1] == 128
    assert len(found) > 5
    torch.testing.assert_close(found.square().sum(1), torch.ones(len(found)))
    assert found.equal(sift_descriptors(picture(0), CONFIG))
    plain = sift_descriptors(picture(0), SiftConfig(root=False))
    assert plain.max() > 1
    torch.testing.assert_close(found, (plain / plain.sum(1, keepdim=True)).sqrt())
    cv2 = pytest.importorskip("cv2")
    image = picture(1)
    array = image.permute(1, 2, 0).numpy()
    expected = sift_descriptors(image, CONFIG)
    assert sift_descriptors(array, CONFIG).equal(expected)
    assert sift_descriptors(cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2GRAY), CONFIG).equal(expected)
    small = picture(2, 40)
    assert len(sift_descriptors(small, SiftConfig(side=160))) > len(sift_descriptors(small, CONFIG))
    assert len(sift_descriptors(picture(2), SiftConfig(keypoints=3))) <= 4  # OpenCV keeps ties of the last


def test_an_image_without_keypoints_has_none_and_the_vector_zero() -> None:
    pytest.importorskip("cv2")
    blank = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    assert sift_descriptors(blank, CONFIG).shape == (0, 128)
    config = SiftConfig(fisher=FisherConfig(clusters=4, dimensions=8))
    encoder = fit_sift_fisher([picture(seed) for seed in range(6)], config, torch.Generator().manual_seed(0))
    features = sift_fisher_features([blank, picture(0)], encoder, config)
    assert not features[0].any()
    assert float(features[1].norm()) == pytest.approx(1)
    with pytest.raises(ValueError, match="0 SIFT keypoints in all"):
        fit_sift_fisher([blank], config, torch.Generator())


def test_a_picture_is_nearest_to_its_own_shifted_copy() -> None:
    pytest.importorskip("cv2")
    config = SiftConfig(fisher=FisherConfig(clusters=8, dimensions=16, descriptors=300))
    images = [picture(seed) for seed in range(12)]
    encoder = fit_sift_fisher(images, config, torch.Generator().manual_seed(0))
    again = fit_sift_fisher(images, config, torch.Generator().manual_seed(0))
    features = sift_fisher_features(images, encoder, config, batch=5)
    assert features.shape == (12, 2 * 8 * 16)
    assert features.equal(sift_fisher_features(images, again, config, batch=5))
    shifted = sift_fisher_features([image.roll((3, 5), (1, 2)) for image in images], encoder, config)
    assert (shifted @ features.T).argmax(1).tolist() == list(range(12))


def test_what_cannot_be_used_is_refused() -> None:
    pytest.importorskip("cv2")
    for image in (torch.zeros(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(ValueError, match="an image must be uint8"):
            sift_descriptors(image, CONFIG)
    with pytest.raises(ValueError, match="side"):
        SiftConfig(side=2)
