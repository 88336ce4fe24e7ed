"""The networks of a CycleGAN, their losses and the image pool against what the paper says; pictures through a network."""

import math

import numpy as np
import pytest
import torch

from synthetic_datasets.cyclegan import networks
from synthetic_datasets.cyclegan.losses import adversarial_loss, cycle_loss, discriminator_loss, identity_loss
from synthetic_datasets.cyclegan.networks import ImagePool, ResnetGenerator, Translator, to_network


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolution(before: int, after: int, side: int) -> int:
    return before * after * side * side + after


@pytest.mark.parametrize(("ngf", "blocks"), [(64, 9), (64, 6), (16, 3)])
def test_a_generator_has_the_papers_layers(ngf: int, blocks: int) -> None:
    expected = convolution(3, ngf, 7) + convolution(ngf, 2 * ngf, 3) + convolution(2 * ngf, 4 * ngf, 3)
    expected += blocks * 2 * convolution(4 * ngf, 4 * ngf, 3)
    expected += convolution(4 * ngf, 2 * ngf, 3) + convolution(2 * ngf, ngf, 3) + convolution(ngf, 3, 7)
    assert count(ResnetGenerator(ngf, blocks)) == expected
    if (ngf, blocks) == (64, 9):
        assert expected == 11_378_179


def test_networks_are_the_papers() -> None:
    sizes = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert count(networks.PatchDiscriminator()) == sum(convolution(*size, 4) for size in sizes) == 2_764_737
    with pytest.raises(ValueError, match="multiples of 4, got \\(18, 16\\)"):
        ResnetGenerator(4, 1)(torch.zeros(1, 3, 18, 16))
    images = torch.rand(2, 3, 24, 40) * 2 - 1
    out = ResnetGenerator(4, 1)(images)
    assert out.shape == images.shape and out.abs().max() <= 1
    network = ResnetGenerator(16, 2)
    networks.initialise(network, torch.Generator().manual_seed(3))
    values = torch.cat([p.flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert values.mean().abs() < 2e-4 and (values.std() - 0.02).abs() < 2e-4
    assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_each_output_of_a_discriminator_sees_70_by_70_pixels() -> None:
    torch.manual_seed(0)
    network = networks.PatchDiscriminator(2)
    for layer in network.layers:  # instance norm looks at the whole picture, which hides what the convolutions see
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda x: x
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    out = network(images)
    assert out.shape == (1, 1, 14, 14)
    out[0, 0, 7, 7].backward()
    seen = images.grad[0].abs().sum(0) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70


def test_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    real, fake, a, b = rng.normal(size=(4, 2, 3, 5, 5))
    plain = {
        "real": sum((x - 1) ** 2 for x in real.flat) / real.size, "fake": sum(x**2 for x in fake.flat) / fake.size,
        "l1": sum(abs(x - y) for x, y in zip(a.flat, b.flat, strict=True)) / a.size,
    }  # fmt: skip
    t = [torch.tensor(x) for x in (real, fake, a, b)]
    assert adversarial_loss(t[0], True).item() == pytest.approx(plain["real"])
    assert adversarial_loss(t[1], False).item() == pytest.approx(plain["fake"])
    assert discriminator_loss(t[0], t[1]).item() == pytest.approx((plain["real"] + plain["fake"]) / 2)
    assert cycle_loss(t[2], t[3]).item() == pytest.approx(10 * plain["l1"])
    assert identity_loss(t[2], t[3]).item() == pytest.approx(5 * plain["l1"])


def test_a_pool_fills_then_gives_every_other_picture_an_old_one() -> None:
    pool, generator = ImagePool(50), torch.Generator().manual_seed(0)
    images = torch.arange(650.0).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    first = pool.exchange(images[:50], generator)
    assert torch.equal(first, images[:50]) and len(pool.images) == 50
    held = {int(image[0, 0, 0]) for image in pool.images}
    old = 0
    for image in images[50:]:
        shown = pool.exchange(image[None], generator)
        value, new = int(shown[0, 0, 0, 0]), int(image[0, 0, 0])
        if value == new:
            assert new not in {int(x[0, 0, 0]) for x in pool.images}
        else:
            old += 1
            assert value in held
            held = held - {value} | {new}
        assert held == {int(x[0, 0, 0]) for x in pool.images}
    assert abs(old - 300) < 4 * math.sqrt(600 / 4)


def test_a_pool_of_nothing_shows_the_latest_and_none_keeps_gradients() -> None:
    image = torch.ones(1, 3, 2, 2, requires_grad=True)
    for capacity in (0, 3):
        pool = ImagePool(capacity)
        shown = pool.exchange(image, torch.Generator())
        assert torch.equal(shown, image) and not shown.requires_grad
    restored = ImagePool(3)
    restored.restore(pool.state())
    assert torch.equal(restored.images[0], image[0])
    restored.restore(ImagePool(3).state())
    assert restored.images == []


def test_pixels_survive_the_way_to_the_network_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert np.array_equal(networks.to_pixels(to_network(pixels)), pixels)


def test_a_batch_is_translated_as_its_pictures_one_by_one() -> None:
    torch.manual_seed(1)
    network = ResnetGenerator(8, 2)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 24, 32, 3), dtype=np.uint8)
    whole = Translator(network, batch=4)(pixels)
    single = np.concatenate([Translator(network, batch=1)(pixels[n : n + 1]) for n in range(7)])
    assert whole.shape == pixels.shape and whole.dtype == np.uint8
    assert np.abs(whole.astype(int) - single).max() <= 1
    with torch.inference_mode():
        together = network(to_network(pixels))
        alone = torch.cat([network(to_network(pixels[n : n + 1])) for n in range(7)])
    assert torch.allclose(together, alone, atol=1e-5)
