"""CycleGAN: its networks, losses and pool against what the paper says; training that can be killed; batch inference."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthetic_datasets import BuildError, InputError
from synthetic_datasets.cli import main
from synthetic_datasets.cyclegan.checkpoint import load_cyclegan, read_tensors, write_tensors
from synthetic_datasets.cyclegan.losses import adversarial_loss, cycle_loss, discriminator_loss, identity_loss
from synthetic_datasets.cyclegan.material import Material, load_material
from synthetic_datasets.cyclegan.networks import PatchDiscriminator, ResnetGenerator, initialise
from synthetic_datasets.cyclegan.pool import ImagePool
from synthetic_datasets.cyclegan.settings import CycleGANConfig, rate_factor, small_for, steps_of_epoch
from synthetic_datasets.cyclegan.training import _Run, cropped, picture_number, train
from synthetic_datasets.cyclegan.translation import Translator, to_network, to_pixels

TINY = CycleGANConfig(
    size=24, load=26, epochs=2, decay_epochs=1, epoch_size=3, ngf=4, ndf=4, blocks=1, pool=2, checkpoint_every=2,
    sheet_every=100, judge_steps=2,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def material() -> Material:
    return load_material(None, None, TINY.load, 0, generated=8)


def weights(folder: Path) -> bytes:
    return (folder / "cyclegan.pt").read_bytes()


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


def test_a_discriminator_has_the_papers_layers() -> None:
    sizes = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert count(PatchDiscriminator()) == sum(convolution(*size, 4) for size in sizes) == 2_764_737


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40)])
def test_a_generator_keeps_the_shape_and_stays_in_its_range(height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width) * 2 - 1
    out = ResnetGenerator(4, 1)(images)
    assert out.shape == images.shape
    assert out.abs().max() <= 1


def test_a_generator_refuses_sizes_that_it_would_change() -> None:
    with pytest.raises(ValueError, match="multiples of 4, got \\(18, 16\\)"):
        ResnetGenerator(4, 1)(torch.zeros(1, 3, 18, 16))


def test_each_output_of_a_discriminator_sees_70_by_70_pixels() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(2)
    for layer in network.layers:  # instance norm looks at the whole picture, which hides what the convolutions see
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda x: x
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    out = network(images)
    assert out.shape == (1, 1, 14, 14)
    out[0, 0, 7, 7].backward()
    seen = images.grad[0].abs().sum(0) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70


def test_weights_start_from_a_narrow_normal_distribution() -> None:
    network = ResnetGenerator(16, 2)
    initialise(network, torch.Generator().manual_seed(3))
    values = torch.cat([p.flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert values.mean().abs() < 2e-4 and (values.std() - 0.02).abs() < 2e-4
    assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    real, fake, a, b = rng.normal(size=(4, 2, 3, 5, 5))
    plain = {
        "real": sum((x - 1) ** 2 for x in real.flat) / real.size,
        "fake": sum(x**2 for x in fake.flat) / fake.size,
        "l1": sum(abs(x - y) for x, y in zip(a.flat, b.flat, strict=True)) / a.size,
    }
    t = [torch.tensor(x) for x in (real, fake, a, b)]
    assert adversarial_loss(t[0], True).item() == pytest.approx(plain["real"])
    assert adversarial_loss(t[1], False).item() == pytest.approx(plain["fake"])
    assert discriminator_loss(t[0], t[1]).item() == pytest.approx((plain["real"] + plain["fake"]) / 2)
    assert cycle_loss(t[2], t[3]).item() == pytest.approx(10 * plain["l1"])
    assert identity_loss(t[2], t[3]).item() == pytest.approx(5 * plain["l1"])


def test_the_learning_rate_falls_to_almost_zero_in_the_last_epoch() -> None:
    factors = [rate_factor(epoch, 100, 100) for epoch in range(200)]
    assert factors[:100] == [1.0] * 100
    assert factors[100] == pytest.approx(1 - 1 / 101) and factors[199] == pytest.approx(1 / 101)
    assert np.allclose(np.diff(factors[99:]), -1 / 101)
    assert [rate_factor(epoch, 2, 0) for epoch in range(2)] == [1.0, 1.0]


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


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"size": 26}, "multiple of 4 from 24 on"),
        ({"size": 20}, "from 24 on"),
        ({"load": 12}, "do not hold"),
        ({"batch": 0}, "more than 0"),
        ({"pool": -1}, "0 or more"), ({"precision": "64"}, "one of 32, bf16"), ({"rate": math.nan}, "rate"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(TINY, **wrong)


def test_steps_of_an_epoch() -> None:
    assert steps_of_epoch(CycleGANConfig(), 1072, 6287) == 6287
    assert steps_of_epoch(CycleGANConfig(batch=4), 1072, 6287) == 1571
    recipe = small_for(64, 800, 0)
    assert steps_of_epoch(recipe, 9, 9) * (recipe.epochs + recipe.decay_epochs) == 800


def test_every_picture_is_drawn_once_a_turn() -> None:
    for turn in range(3):
        assert sorted(picture_number(5, 1, 7, 7 * turn + n) for n in range(7)) == list(range(7))
    orders = {tuple(picture_number(5, domain, 7, n) for n in range(7)) for domain in (0, 1)}
    assert len(orders) == 2


def test_crops_are_squares_of_the_picture_as_often_mirrored_as_not() -> None:
    pixels = np.arange(20 * 20 * 3, dtype=np.uint16).reshape(20, 20, 3)
    rng, mirrored, corners = np.random.default_rng(0), 0, set()
    for _ in range(300):
        square = cropped(pixels, 16, True, rng)
        turned = square[:, ::-1] if square[0, 0, 0] > square[0, 1, 0] else square
        mirrored += turned is not square
        top, left = divmod(int(turned[0, 0, 0]) // 3, 20)
        assert np.array_equal(turned, pixels[top : top + 16, left : left + 16])
        corners.add((top, left))
    assert 115 < mirrored < 185 and len(corners) == 25
    plain = [cropped(pixels, 16, False, rng) for _ in range(9)]
    assert all(square[0, 0, 0] < square[0, 1, 0] for square in plain)


def test_pixels_survive_the_way_to_the_network_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert np.array_equal(to_pixels(to_network(pixels)), pixels)


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
    with pytest.raises(InputError, match="multiples of 4"):
        Translator(network)(pixels[:, :23])


def test_discriminators_only_pass_on_the_gradient_of_the_generators(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _Run(material, TINY, tmp_path, "cpu")
    seen: list[tuple[str, bool, bool]] = []

    def stepped(optimizer: torch.optim.Adam, name: str) -> Callable[..., None]:
        original = optimizer.step

        def step() -> None:
            learning = all(p.requires_grad for p in run.networks.judges())
            got = any(p.grad is not None for p in run.networks.judges())
            seen.append((name, learning, got))
            original()

        return step

    monkeypatch.setattr(run._generators, "step", stepped(run._generators, "generators"))
    monkeypatch.setattr(run._judges, "step", stepped(run._judges, "judges"))
    run.take(*run._batch(0))
    assert seen == [("generators", False, False), ("judges", True, True)]


def test_training_writes_networks_losses_report_and_sheets(material: Material, tmp_path: Path) -> None:
    trained = train(material, replace(TINY, sheet_every=4), tmp_path)
    assert trained.steps == 9 and len(trained.losses) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cyclegan.pt", "losses.csv", "report.json", "sheets", "training.pt",
    ]  # fmt: skip
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == [f"step_{step:07d}.png" for step in (0, 4, 8, 9)]
    first, last = (np.asarray(Image.open(tmp_path / "sheets" / name)) for name in (sheets[0], sheets[-1]))
    assert first.shape == last.shape and (first != last).any()
    saved = load_cyclegan(trained.network)
    assert saved.facts["steps"] == 9 and saved.facts["photos"] == "town"
    assert trained.verdict is not None and 0 <= trained.verdict.painted <= 1
    rows = (tmp_path / "losses.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[1].startswith("1,")


def test_a_training_that_was_stopped_ends_with_the_same_bytes(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(material, TINY, tmp_path / "whole")
    for stop in (3, 6):  # after the pools are full, in the epoch in which the learning rate falls
        take = _Run.take

        def stopping(self: _Run, *batch: torch.Tensor, stop: int = stop, take: Callable[..., None] = take) -> None:
            if self.step == stop:
                raise KeyboardInterrupt
            take(self, *batch)

        with monkeypatch.context() as patch:
            patch.setattr(_Run, "take", stopping)
            with pytest.raises(KeyboardInterrupt):
                train(material, TINY, tmp_path / "stopped")
        assert not (tmp_path / "stopped" / "cyclegan.pt").exists()
    train(material, replace(TINY, checkpoint_every=3, sheet_every=5), tmp_path / "stopped")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert (tmp_path / "stopped" / "losses.csv").read_bytes() == (tmp_path / "whole" / "losses.csv").read_bytes()


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    options = [
        "--size",
        "24",
        "--load",
        "26",
        "--epochs",
        "10",
        "--decay-epochs",
        "10",
        "--epoch-size",
        "4",
        "--ngf",
        "4",
    ]
    options += ["--ndf", "4", "--blocks", "1", "--generated", "8", "--checkpoint-every", "1", "--judge-steps", "0"]

    def start(out: str) -> subprocess.Popen[bytes]:
        words = ["train-cyclegan", "--out", str(tmp_path / out), "--device", "cpu", *options]
        code = f"from synthetic_datasets.cli import main; raise SystemExit(main({words!r}))"
        return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})

    assert start("whole").wait() == 0
    process = start("killed")
    checkpoint = tmp_path / "killed" / "training.pt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < read_tensors(checkpoint, "synthetic_datasets.cyclegan-training/1")["step"] < 80
    assert start("killed").wait() == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_folder_keeps_to_one_recipe_and_one_material(material: Material, tmp_path: Path) -> None:
    train(material, TINY, tmp_path)
    with pytest.raises(InputError, match=r"other settings \(--ngf, --rate\)"):
        train(material, replace(TINY, ngf=8, rate=1e-3), tmp_path)
    other = load_material(None, None, TINY.load, 1, generated=8)
    with pytest.raises(InputError, match="other pictures"):
        train(other, TINY, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        train(material, TINY, tmp_path / "file")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = _Run.take

    def poisoned(self: _Run, *batch: torch.Tensor) -> None:
        if self.step == 5:
            with torch.no_grad():
                next(self.networks.paint.parameters()).fill_(math.nan)
        take(self, *batch)

    monkeypatch.setattr(_Run, "take", poisoned)
    with pytest.raises(BuildError, match=r"loss paint is not finite at step 5 \(nan\).*is from before"):
        train(material, TINY, tmp_path)
    content = read_tensors(tmp_path / "training.pt", "synthetic_datasets.cyclegan-training/1")
    assert content["step"] == 4
    assert all(torch.isfinite(value).all() for value in content["networks"].values())
    assert not (tmp_path / "cyclegan.pt").exists()


def test_cuda_without_cuda_is_an_error(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="finds no CUDA device"):
        train(material, TINY, tmp_path, "cuda")


def test_files_that_hold_no_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pt: no such file"):
        load_cyclegan(tmp_path / "absent.pt")
    (tmp_path / "noise.pt").write_bytes(b"\x00" * 500)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_cyclegan(tmp_path / "noise.pt")
    write_tensors(tmp_path / "other.pt", {"format": "something"})
    with pytest.raises(InputError, match="a file of another kind"):
        load_cyclegan(tmp_path / "other.pt")
    write_tensors(tmp_path / "half.pt", {"format": "synthetic_datasets.cyclegan/1", "facts": {"ngf": 4, "blocks": 1}})
    with pytest.raises(InputError, match="do not fit"):
        load_cyclegan(tmp_path / "half.pt")


def test_generated_material_is_divided_and_shares_nothing(material: Material) -> None:
    assert len(material.photos) == len(material.paintings) == 7
    assert len(material.unseen_photos) == len(material.unseen_paintings) == 1
    shown = [pile.read(number).tobytes() for pile in vars(material).values() for number in range(len(pile))]
    assert len(set(shown)) == 16
    again = load_material(None, None, TINY.load, 0, generated=8)
    assert again.digest == material.digest


def test_the_command_trains_and_says_what_a_classifier_thinks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)
    words = ["train-cyclegan", "--out", str(tmp_path / "out"), "--device", "cpu", "--size", "24", "--load", "24"]
    words += ["--epochs", "1", "--decay-epochs", "0", "--epoch-size", "2", "--ngf", "4", "--ndf", "4", "--blocks", "1"]
    words += ["--generated", "4", "--judge-steps", "2", "--no-flip"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "photos     town: 3, held out 1" in out and "taken for paintings" in out
    assert out.endswith("cyclegan.pt\n") and (tmp_path / "out" / "cyclegan.pt").is_file()
    assert main([*words, "--size", "22"]) == 2
    assert "size: expected a multiple of 4" in capsys.readouterr().err
    assert main([*words, "--photos", str(tmp_path / "absent")]) == 2
    assert "absent: no such folder" in capsys.readouterr().err


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (30, 20 + number, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(folder / "below" / "grey.jpg")
    return folder


def test_a_folder_is_read_whole_without_duplicates_and_broken_files(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "copy.png").write_bytes((pictures / "3.png").read_bytes())
    (pictures / "link.png").symlink_to(pictures / "2.png")
    (pictures / "AtoB_3.png").write_bytes(b"a translation of an earlier run is no material")
    (pictures / "broken.jpg").write_bytes((pictures / "below" / "grey.jpg").read_bytes()[:200])
    made = load_material(pictures, None, 18, 0, generated=4)
    assert len(made.photos) + len(made.unseen_photos) == 6
    assert made.photos.name == "pictures" and made.photos.read(0).shape == (18, 18, 3)
    said = caplog.text
    assert "broken.jpg" in said and "copy.png: the same picture as" in said
    assert "AtoB" not in said


def test_pictures_that_memory_cannot_hold_are_read_when_wanted(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = load_material(pictures, None, 18, 0, generated=4)
    lazy = load_material(pictures, None, 18, 0, generated=4, memory=1)
    assert len(lazy.photos) == len(held.photos)
    for number in range(len(held.photos)):
        assert np.array_equal(lazy.photos.read(number), held.photos.read(number))
    for path in pictures.glob("?.png"):
        path.write_bytes(b"")
    assert np.array_equal(lazy.photos.read(0), lazy.photos.read(1))  # all but below/grey.jpg are broken now
    assert "is taken instead" in caplog.text


def test_a_picture_in_both_domains_is_refused(pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "paintings"
    other.mkdir()
    for number in range(3):
        (other / f"{number}.png").write_bytes((pictures / f"{number + 2}.png").read_bytes())
    with pytest.raises(InputError, match="the same picture is among the photos too"):
        load_material(pictures, other, 18, 0)
    with pytest.raises(InputError, match="no such folder"):
        load_material(pictures, tmp_path / "absent", 18, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        load_material(tmp_path / "empty", None, 18, 0)


@pytest.mark.slow
def test_translated_photos_are_taken_for_paintings_more_often_than_photos(tmp_path: Path) -> None:
    recipe = small_for(32, 160, 0)
    made = load_material(None, None, recipe.load, 0, generated=120)
    trained = train(made, recipe, tmp_path)
    said = trained.verdict
    assert said is not None
    assert said.photos < 0.2 and said.paintings > 0.8
    assert said.painted > said.photos + 0.5
