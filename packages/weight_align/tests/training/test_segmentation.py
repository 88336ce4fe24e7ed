"""Training of DeepLabv3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from efficiency_core.errors import UsageError
from weight_align.checkpoint import load_deeplab
from weight_align.data import MaskTensor
from weight_align.networks import HeadConfig, NetworkConfig
from weight_align.training import Normalisation, SegmentationConfig, Trained, evaluate_segmentation, train_segmentation

HEAD = HeadConfig(channels=8, rates=(1, 2))
Scenes = Callable[..., MaskTensor]
RECIPE: dict[str, Any] = {"epochs": 2, "crop": 32, "normalisation": "data", "workers": 2, "checkpoint_every": 1}


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"backbone": "resnet18", "width": 2, "stem": "imagenet", "norm": "gn"} | changes)


@pytest.mark.slow
def test_scenes_are_learned(tmp_path: Path, scenes: Scenes) -> None:
    changes = {"epochs": 25, "learning_rate": 0.05, "zoom": (0.9, 1.1), "checkpoint_every": 500}
    model, config = network(norm="bn", width=8, stem="cifar"), SegmentationConfig(**RECIPE | changes)
    result = train_segmentation(scenes(24), model, config, tmp_path, head=HEAD, validation=scenes(4, seed=1))
    assert result.losses[-1] < 0.4 * result.losses[0]
    found = evaluate_segmentation(result.network, scenes(24), normalisation=result.normalisation)
    assert found.mean_iou > 55
    assert result.best is not None and (tmp_path / "best.safetensors").exists()


def test_a_stopped_segmentation_ends_as_an_uninterrupted_one(tmp_path: Path, scenes: Scenes) -> None:
    seen: list[int] = []

    def run(folder: str, stop: int = 9, **changes: Any) -> Trained[Any]:
        def look(epoch: int, _: Any) -> None:
            seen.append(epoch)
            if epoch == stop:
                raise KeyboardInterrupt

        config = SegmentationConfig(**RECIPE | changes)
        return train_segmentation(scenes(), network(), config, tmp_path / folder, head=HEAD, after_epoch=look)

    whole = run("whole")
    assert seen == [0, 1, 2] and whole.normalisation == Normalisation.of(scenes().images)
    with pytest.raises(KeyboardInterrupt):
        run("parts", stop=1)
    parts = run("parts", workers=1)
    assert parts.losses == whole.losses
    paths = [tmp_path / folder / "network.safetensors" for folder in ("parts", "whole")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    loaded = load_deeplab(paths[1])
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # Weights in another memory format are added up in another order.
    torch.testing.assert_close(loaded.network(images), whole.network(images), atol=1e-4, rtol=1e-4)
    assert loaded.metadata["class_names"][0] == "ground" and loaded.network.head_config == HEAD


def test_segmentations_that_cannot_be_trained(tmp_path: Path, scenes: Scenes) -> None:
    for images, model, changes, message in (
        (scenes(), network(classes=5), {}, "Scenes has 4 classes, the network is asked for 5"),
        (scenes(3), network(), {}, "Scenes has 3 images to train on, a batch needs 4"),
        (scenes(), network(norm="bn"), {"batch_size": 1}, "cannot train on one picture"),
        (scenes(), network(), {"images": 13}, "Scenes has 12 images, 13 are asked for"),
        (scenes(), network(backbone="vgg16"), {}, "the backbone of DeepLabv3 must be a ResNet, got vgg16"),
    ):
        config = SegmentationConfig(**RECIPE | changes)
        with pytest.raises(UsageError, match=message):
            train_segmentation(images, model, config, tmp_path / "run", head=HEAD)
    assert not (tmp_path / "run").exists()
