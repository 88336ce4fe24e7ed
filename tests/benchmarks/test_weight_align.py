"""Chapter 5: aligning weights, a training step with every normalisation, inference after folding, batches."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from efficiency_bench.experiments.normalisation.weight_align_cost import Settings, new_network, training
from efficiency_bench.measure.counters import count
from weight_align import align, fold
from weight_align.networks import NetworkConfig, build_network
from weight_align.training import crops, epoch_plan, padded

Gate = Callable[[dict[str, int]], None]
Timed = Ratio = Callable[..., None]
CPU = torch.device("cpu")
SETTINGS = Settings(network=NetworkConfig(100, "resnet18", width=16))
IMAGES = 8


def batch(device: torch.device) -> tuple[Tensor, Tensor]:
    """Random images of 32 pixels and their labels."""
    images = torch.randn(IMAGES, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    return images, torch.arange(IMAGES, device=device)


def filters(device: torch.device, backbone: str = "resnet50") -> list[nn.Parameter]:
    """The weights of all convolutions of a ResNet."""
    torch.manual_seed(0)
    network = new_network(Settings(NetworkConfig(100, backbone)), "plain", device)  # type: ignore[arg-type]
    return [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]


def forward_and_backward(weights: list[nn.Parameter], aligned: Callable[[Tensor], Tensor]) -> None:
    for weight in weights:
        weight.grad = None
        aligned(weight).sum().backward()  # type: ignore[no-untyped-call]


def test_align_every_filter_of_resnet50(gate: Gate, timed: Timed, device: torch.device) -> None:
    """Forward and backward of equation 5.10 for all convolutions, one after the other."""
    weights = filters(CPU)
    work, forward = partial(forward_and_backward, weights, align), lambda: [align(weight) for weight in weights]
    gate(count(work, forward=forward, given=weights) | {"weights": sum(weight.numel() for weight in weights)})
    weights = filters(device)
    timed(partial(forward_and_backward, weights, align))
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)


@pytest.mark.parametrize("form", ["plain", "wa_plain", "fixup", "wa", "bn", "bn_wa", "gn", "ln", "in", "wn"])
def test_training_step(gate: Gate, timed: Timed, device: torch.device, form: str) -> None:
    """A step of SGD of a thin ResNet-18 on 8 images of 32 pixels."""
    torch.manual_seed(0)
    network, (images, labels) = new_network(SETTINGS, form, CPU), batch(CPU)
    step = training(network, images, labels)
    step()
    gate(count(step, forward=lambda: cross_entropy(network(images), labels), network=network))
    step = training(new_network(SETTINGS, form, device), *batch(device))
    timed(step)
    assert torch.isfinite(step())


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "vgg16"])
def test_network(gate: Gate, timed: Timed, device: torch.device, backbone: str) -> None:
    """A whole network of the thesis on one image of 32 pixels, with aligned weights."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(100, backbone, align=True)).eval()  # type: ignore[arg-type]
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        gate(count(partial(network, image), forward=partial(network, image), network=network))
    network, image = network.to(device), image.to(device)
    with torch.inference_mode():
        timed(partial(network, image))
        assert network(image).shape == (1, 100)


def answering(form: str, device: torch.device) -> tuple[nn.Module, Tensor]:
    """A network with the weights aligned at every call, folded, or plain, and a batch of images."""
    torch.manual_seed(0)
    network = new_network(SETTINGS, "plain" if form == "plain" else "wa_plain", device).eval()
    if form == "folded":
        fold(network)
    return network, batch(device)[0]


@pytest.mark.parametrize("form", ["plain", "wa_plain", "folded"])
def test_inference(gate: Gate, timed: Timed, device: torch.device, form: str) -> None:
    """The same network's forward pass: plain, with its filters aligned at every call, and folded."""
    network, images = answering(form, CPU)
    with torch.no_grad():
        gate(count(partial(network, images), network=network))
    network, images = answering(form, device)
    with torch.inference_mode():
        timed(partial(network, images))
        assert network(images).shape == (IMAGES, SETTINGS.network.classes)


@pytest.mark.parametrize("size", [1, 64, 512])
def test_batches(gate: Gate, timed: Timed, device: torch.device, size: int) -> None:
    """Random crops and mirror images of 4,096 images that lie on the device, cut out batch by batch."""

    def work(device: torch.device) -> Callable[[], list[Tensor]]:
        pixels = padded(torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8), 4).to(device)
        plan = epoch_plan(4096, 0, 0, size=(32, 32), padding=4, flip=True, erasing=0.0).to(device)
        rows = plan[: max(size, 64)].split(size)
        return lambda: [crops(pixels, part, (32, 32)) for part in rows]

    gate(count(work(CPU)) | {"images": sum(map(len, work(CPU)()))})
    cut = work(device)
    timed(cut)
    assert cut()[0].shape == (size, 3, 32, 32)


def test_align_and_its_formula(ratio: Ratio, device: torch.device) -> None:
    """The fused alignment of a ResNet-18 against equation 5.10 written with torch's operators, both with gradient."""
    weights = filters(device, "resnet18")

    def formula(weight: Tensor) -> Tensor:
        rows = weight.flatten(1)
        centred = rows - rows.mean(1, keepdim=True)
        return centred / (rows.shape[1] / 2 * centred.square().mean(1, keepdim=True) + 1e-8).sqrt()

    works = {
        name: partial(forward_and_backward, weights, form)
        for name, form in (("align", align), ("its formula", formula))
    }
    ratio(works, most=0.6, rounds=5)


def test_training_with_and_without_weight_align(ratio: Ratio, device: torch.device) -> None:
    """The thin ResNet-18 on few images, where the weights weigh most."""
    torch.manual_seed(0)
    data = batch(device)
    steps = {form: training(new_network(SETTINGS, form, device), *data) for form in ("wa_plain", "plain")}
    ratio({"a step with WeightAlign": steps["wa_plain"], "a step without": steps["plain"]}, most=1.8)


def test_folded_and_plain(ratio: Ratio, device: torch.device) -> None:
    """A folded network is a network without WeightAlign."""
    networks = {form: answering(form, device) for form in ("folded", "plain")}
    with torch.inference_mode():
        calls = {form: partial(network, images) for form, (network, images) in networks.items()}
        ratio({"a folded network": calls["folded"], "a plain one": calls["plain"]}, most=1.7)
