"""Speed of chapter 5's parts: aligning weights, a training step with every normalisation, inference after folding, batches."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from efficiency_bench.experiments.weight_align_cost import Settings, batch, new_network, saved, training
from efficiency_bench.flops import count_macs
from weight_align import align, fold
from weight_align.augmentation import crops, epoch_plan, padded

SETTINGS = Settings(backbone="resnet18", width=16, batch_size=16)


def timed(benchmark: BenchmarkFixture, work: Callable[[], object], device: torch.device, rounds: int = 10) -> None:
    """Benchmark ``work`` with warm-up, the device synchronised inside every call."""

    def synchronised() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    benchmark.pedantic(synchronised, rounds=rounds, warmup_rounds=2)


def test_align_every_filter_of_resnet50(benchmark: BenchmarkFixture, device: torch.device) -> None:
    """Forward and backward of equation 5.10 for all convolutions, one after the other."""
    torch.manual_seed(0)
    network = new_network(Settings(), "plain", device)
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    benchmark.extra_info["weights"] = sum(weight.numel() for weight in weights)

    def work() -> None:
        for weight in weights:
            weight.grad = None
            align(weight).square().sum().backward()  # type: ignore[no-untyped-call]

    timed(benchmark, work, device)
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)


@pytest.mark.parametrize("form", ["plain", "wa_plain", "fixup", "wa", "bn", "bn_wa", "gn", "ln", "in", "wn"])
def test_training_step(benchmark: BenchmarkFixture, device: torch.device, form: str) -> None:
    """A step of SGD of a thin ResNet-18 on 16 images of 32 pixels."""
    torch.manual_seed(0)
    network, (images, labels) = new_network(SETTINGS, form, device), batch(SETTINGS, device)
    benchmark.extra_info["saved_bytes"] = saved(network, images, labels)
    step = training(network, images, labels)
    timed(benchmark, step, device)
    assert torch.isfinite(step())


@pytest.mark.parametrize("form", ["plain", "wa_plain", "folded"])
def test_inference(benchmark: BenchmarkFixture, device: torch.device, form: str) -> None:
    """The same network's forward pass: plain, with its filters aligned at every call, and folded."""
    torch.manual_seed(0)
    network = new_network(SETTINGS, "plain" if form == "plain" else "wa_plain", device).eval()
    if form == "folded":
        fold(network)
    images, _ = batch(SETTINGS, device)
    benchmark.extra_info["macs"] = count_macs(network, (images,)).macs
    with torch.inference_mode():
        timed(benchmark, partial(network, images), device)
        assert network(images).shape == (SETTINGS.batch_size, SETTINGS.classes)


@pytest.mark.parametrize("size", [1, 64, 512])
def test_batches(benchmark: BenchmarkFixture, device: torch.device, size: int) -> None:
    """Random crops and mirror images of 4,096 images that lie on the device, cut out batch by batch."""
    pixels = padded(torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8), 4).to(device)
    plan = epoch_plan(4096, 0, 0, size=(32, 32), padding=4, flip=True, erasing=0.0).to(device)
    rows = plan[: max(size, 64)].split(size)
    benchmark.extra_info["images"] = sum(map(len, rows))
    timed(benchmark, lambda: [crops(pixels, part, (32, 32)) for part in rows], device)
    assert crops(pixels, rows[0], (32, 32)).shape == (size, 3, 32, 32)
