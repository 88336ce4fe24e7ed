"""DeepLabv3: its strides and dilations, views of pictures, mean intersection over union, and training."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weight_align import is_aligned, training_run
from weight_align.checkpoint import save_network
from weight_align.deeplab import DeepLab, HeadConfig, build_deeplab, load_deeplab
from weight_align.errors import UsageError, WorkError
from weight_align.facts import Facts
from weight_align.masks import MaskTensor
from weight_align.networks import NetworkConfig, build_network
from weight_align.normalisation import IMAGENET, Normalisation
from weight_align.segmentation import evaluate_segmentation, scores_of, train_segmentation
from weight_align.segmentation_feed import SegmentationConfig, random_view

pytestmark = pytest.mark.usefixtures("one_thread")
HEAD = HeadConfig(channels=8, rates=(1, 2))


def network(**changes: Any) -> NetworkConfig:
    return NetworkConfig(**{"classes": 4, "width": 2, "stem": "imagenet", "norm": "gn"} | changes)


@pytest.fixture
def scenes(draw: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[..., MaskTensor]:
    """Marks on dark ground; the mask is where it is light, with an edge of 255."""

    def make(count: int = 12, seed: int = 0, size: int = 32) -> MaskTensor:
        pixels, labels = draw(count, size, seed)
        masks = (pixels.max(axis=3) >= 150) * (labels + 1)[:, None, None]
        masks[:, 0] = 255
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        names = ("ground", "bar", "disc", "cross")
        return MaskTensor(images, torch.from_numpy(masks.astype(np.uint8)), Facts("Scenes", f"{count}-{seed}", names))

    return make


# The network


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_output_stride_16_and_dilations(backbone: Any) -> None:
    made = build_deeplab(network(backbone=backbone), HeadConfig(8, (6, 12, 18), (1, 2, 4))).eval()
    images = torch.randn(2, 3, 65, 97)
    maps = made.backbone.forward_features(images)
    assert maps.shape[2:] == (5, 7)  # 65/16 and 97/16, rounded up
    assert made(images).shape == (2, 4, 65, 97)
    stage = made.backbone.get_submodule("layer4")
    wide = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert [layer.dilation[0] for layer in wide] == ([1, 2, 4, 4] if backbone == "resnet18" else [1, 4, 8])
    assert all(layer.dilation == layer.padding for layer in wide)
    assert all(layer.stride == (1, 1) for layer in stage.modules() if isinstance(layer, nn.Conv2d))
    rates = [branch[0].dilation[0] for branch in made.head.branches]  # type: ignore[index, union-attr]
    assert rates == [1, 6, 12, 18]


def test_dilation_keeps_what_the_stride_skipped() -> None:
    """The places that stride 2 computed get what they got, from the same weights: the idea of atrous convolution."""
    torch.manual_seed(0)
    config = network(backbone="resnet18", norm="none", fixup=False)
    plain = build_network(config)
    kept = build_deeplab(config, HEAD)
    kept.backbone.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(1, 3, 128, 128)
    coarse, fine = plain.forward_features(images), kept.backbone.forward_features(images)
    assert coarse.shape[2:] == (4, 4) and fine.shape[2:] == (8, 8)
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["none", "bn", "gn", "ln", "in", "wn"])
def test_every_norm_trains(norm: Any) -> None:
    torch.manual_seed(0)
    made = build_deeplab(network(norm=norm), HEAD).train()
    made(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in made.head.parameters())


def test_all_of_the_head_is_aligned_but_the_classifier() -> None:
    made = build_deeplab(network(align=True), HEAD)
    plain = {name for name, layer in made.named_modules() if isinstance(layer, nn.Conv2d) and not is_aligned(layer)}
    assert plain == {"head.classifier"}
    weight = made.head.project[0].weight  # type: ignore[index]
    assert isinstance(weight, Tensor)
    torch.testing.assert_close(weight.var((1, 2, 3), correction=0), torch.full((8,), 2 / 32), rtol=1e-4, atol=0)


def test_the_backbone_starts_from_a_classifier(tmp_path: Path) -> None:
    classifier = build_network(network(classes=10, norm="bn"))
    save_network(tmp_path / "network.pt", classifier)
    made = build_deeplab(network(norm="bn"), HEAD, tmp_path / "network.pt")
    state = classifier.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in made.backbone.state_dict().items())
    with pytest.raises(UsageError, match="has a ResNet for a backbone, got vgg16"):
        build_deeplab(network(backbone="vgg16"))
    with pytest.raises(ValueError, match=r"rates must be 1 or more, got \(0, 6\)"):
        HeadConfig(rates=(0, 6))


# Views


def test_views_move_picture_and_mask_alike(scenes: Callable[..., MaskTensor]) -> None:
    whole = scenes(12)
    config = SegmentationConfig(crop=24, zoom=(0.5, 2.0))
    rng = np.random.default_rng(0)
    shares, outside = [], 0
    for _ in range(40):
        image, mask = random_view(*whole.pair(int(rng.integers(12))), config, (9, 9, 9), rng)
        assert image.shape == (3, 24, 24) and mask.shape == (24, 24)
        beyond = (image == 9).all(dim=0) & (mask == 255)
        outside += int(beyond.any(dim=1).all() or beyond.any(dim=0).all())
        # Only borders are averaged, when the picture is scaled.
        light = image.max(dim=0).values >= 105
        marked = (mask > 0) & (mask < 255)
        shares.append(float((light == marked)[mask < 255].float().mean()))
    assert min(shares) > 0.75 and np.mean(shares) > 0.9 and 0 < outside < 40


def test_a_view_without_chance_is_the_picture(scenes: Callable[..., MaskTensor]) -> None:
    image, mask = scenes(3).pair(1)
    config = SegmentationConfig(crop=40, zoom=(1.0, 1.0), flip=False)
    seen, classes = random_view(image, mask, config, (1, 2, 3), np.random.default_rng(0))
    assert torch.equal(seen[:, :32, :32], image) and torch.equal(classes[:32, :32], mask)
    assert (classes[32:] == 255).all() and (classes[:, 32:] == 255).all()
    assert [int(seen[k, 35, 35]) for k in range(3)] == [1, 2, 3]
    twice = SegmentationConfig(crop=64, zoom=(2.0, 2.0), flip=False)
    _, classes = random_view(image, mask, twice, (0, 0, 0), np.random.default_rng(0))
    assert torch.equal(classes[::2, ::2], mask) and torch.equal(classes[1::2, 1::2], mask)


# Scores


class Guesses(nn.Module):
    """Says the classes it was given, in order."""

    def __init__(self, said: Tensor, classes: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(nn.functional.one_hot(said.long(), classes).permute(0, 3, 1, 2).float())
        self.first = 0

    def forward(self, images: Tensor) -> Tensor:
        self.first += len(images)
        return self.scores[self.first - len(images) : self.first]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_mean_iou_is_that_of_a_loop(scenes: Callable[..., MaskTensor], batch_size: int) -> None:
    whole = scenes(12, size=16)
    said = whole.masks.clone()
    said[said == 255] = 0
    draw = torch.Generator().manual_seed(0)
    wrong = torch.rand(said.shape, generator=draw) < 0.3
    said[wrong] = torch.randint(0, 3, said.shape, generator=draw).byte()[wrong]
    found = evaluate_segmentation(Guesses(said, 4), whole, normalisation=IMAGENET, batch_size=batch_size)
    both, either, right, count = [0] * 4, [0] * 4, 0, 0
    for truth, guess in zip(whole.masks.flatten().tolist(), said.flatten().tolist(), strict=True):
        if truth == 255:
            continue
        count += 1
        right += truth == guess
        both[truth] += truth == guess
        for label in {truth, guess}:
            either[label] += 1
    wanted = [100 * b / e for b, e in zip(both, either, strict=True)]
    assert found.per_class == pytest.approx(wanted) and found.mean_iou == pytest.approx(np.mean(wanted))
    assert found.pixel_accuracy == pytest.approx(100 * right / count) and found.images == 12
    assert 10 < found.mean_iou < 90


def test_classes_that_do_not_occur_count_for_nothing() -> None:
    confusion = torch.tensor([[6, 2, 0], [0, 4, 0], [0, 0, 0]])
    scores = scores_of(confusion, 1)
    assert scores.per_class[:2] == pytest.approx((75.0, 100 * 4 / 6)) and math.isnan(scores.per_class[2])
    assert scores.mean_iou == pytest.approx((75 + 100 * 4 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(100 * 10 / 12)


def test_scores_that_are_not_finite(scenes: Callable[..., MaskTensor]) -> None:
    whole = scenes(2, size=16)
    guesses = Guesses(torch.zeros(2, 16, 16), 4)
    with torch.no_grad():
        guesses.scores[1, 0, 3, 3] = float("inf")
    with pytest.raises(WorkError, match="scores of Scenes are not finite"):
        evaluate_segmentation(guesses, whole, normalisation=IMAGENET)


# Training

RECIPE: dict[str, Any] = {"epochs": 2, "crop": 32, "normalisation": "data", "threads": 2, "checkpoint_every": 1}


@pytest.mark.slow
def test_scenes_are_learned(tmp_path: Path, scenes: Callable[..., MaskTensor]) -> None:
    config = SegmentationConfig(
        **RECIPE | {"epochs": 25, "learning_rate": 0.05, "zoom": (0.9, 1.1), "checkpoint_every": 500}
    )
    model = network(norm="bn", align=True, width=8, stem="cifar")
    result = train_segmentation(scenes(24), model, config, tmp_path, head=HEAD)
    assert result.losses[-1] < 0.4 * result.losses[0]
    found = evaluate_segmentation(result.network, scenes(24), normalisation=result.normalisation)
    assert found.mean_iou > 55


def test_a_stopped_segmentation_ends_as_an_uninterrupted_one(
    tmp_path: Path, scenes: Callable[..., MaskTensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(align=True)
    seen: list[int] = []

    def run(folder: str, **changes: Any) -> Any:
        recipe = SegmentationConfig(**RECIPE | changes)
        look: Callable[[int, DeepLab], None] = lambda epoch, _: seen.append(epoch)  # noqa: E731
        return train_segmentation(scenes(), model, recipe, tmp_path / folder, head=HEAD, after_epoch=look)

    whole = run("whole")
    assert seen == [0, 1, 2] and whole.normalisation == Normalisation.of(scenes().images)
    take = training_run.Run.take

    def interrupted(self: Any, batch: Any) -> None:
        if self.step == 4:
            raise KeyboardInterrupt
        take(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(training_run.Run, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    parts = run("parts", threads=1)
    assert parts.losses == whole.losses
    assert (tmp_path / "parts" / "network.pt").read_bytes() == (tmp_path / "whole" / "network.pt").read_bytes()
    loaded, facts = load_deeplab(tmp_path / "whole" / "network.pt")
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # Weights that lie otherwise in memory are added up in another order.
    torch.testing.assert_close(loaded(images), whole.network(images), atol=1e-4, rtol=1e-4)
    assert facts["class_names"][0] == "ground"
    assert loaded.head_config == HEAD and loaded.config == model


def test_segmentations_that_cannot_be_trained(tmp_path: Path, scenes: Callable[..., MaskTensor]) -> None:
    config = SegmentationConfig(**RECIPE)
    for images, model, recipe, message in (
        (scenes(), network(classes=5), config, "Scenes has 4 classes, the network is asked for 5"),
        (scenes(3), network(), config, "Scenes has 3 images to train on, a batch needs 4"),
        (scenes(), network(norm="bn"), SegmentationConfig(**RECIPE | {"batch_size": 1}), "cannot train on one picture"),
        (scenes(), network(), SegmentationConfig(**RECIPE | {"images": 13}), "Scenes has 12 images, 13 are asked for"),
        (scenes(), network(), SegmentationConfig(**RECIPE | {"graphs": True}), "but the device is cpu"),
    ):
        with pytest.raises(UsageError, match=message):
            train_segmentation(images, model, recipe, tmp_path / "run", head=HEAD)
    assert not (tmp_path / "run").exists()
    save_network(tmp_path / "classifier.pt", build_network(network()))
    with pytest.raises(UsageError, match="a checkpoint of another kind"):
        load_deeplab(tmp_path / "classifier.pt")
