"""Pitts-CycleGAN: what is in its files, in the town and in folders of photos, and what must not get into them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthetic_datasets import ImageSetFile, Sample, UsageError, WorkError, build
from synthetic_datasets.cyclegan.checkpoint import load_cyclegan, save_cyclegan
from synthetic_datasets.cyclegan.networks import ResnetGenerator, Translator
from synthetic_datasets.generators.generator import check_sample
from synthetic_datasets.generators.pitts_cyclegan import GENERATOR, Painter, PittsCycleGANConfig, generate, load_source
from synthetic_datasets.material.pittsburgh import View, yaw_group
from synthetic_datasets.storage.image_set import place

FACTS = {"size": 16, "ngf": 4, "blocks": 1, "steps": 1, "seed": 0, "photos": "x", "paintings": "y", "material": "z"}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "cyclegan.safetensors"
    save_cyclegan(path, ResnetGenerator(4, 1), ResnetGenerator(4, 1), FACTS)
    return str(path)


@pytest.fixture(scope="module")
def config(network: str) -> PittsCycleGANConfig:
    return PittsCycleGANConfig(
        train=90, test=40, places=6, places_test=3, size=(16, 20), network=network, batch=7, outlier_share=0.3
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, config: PittsCycleGANConfig) -> Path:
    out = tmp_path_factory.mktemp("built")
    build(GENERATOR, config, out)
    return out


def photos(root: Path, places: int, yaws: tuple[int, ...] = (1, 2, 3, 4)) -> Path:
    for number in range(places):
        for pitch in (1, 2):
            for yaw in yaws:
                view = View(number + 995, pitch, yaw)
                path = root / view.folder / f"{view.name}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng([number, pitch, yaw])
                Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path, quality=90)
    return root


def test_counts_labels_and_outliers(built: Path, config: PittsCycleGANConfig) -> None:
    for split, places in (("train", range(6)), ("test", range(6, 9))):
        file = ImageSetFile(built / f"{split}.h5")
        domain, label, outlier, place, yaw, pitch = (
            file.read(name) for name in ("domain", "label", "outlier", "place", "yaw", "pitch")
        )
        source, target = config.domain_counts(split)
        assert ((domain == 0).sum(), (domain == 1).sum()) == (source, target)
        assert outlier.sum() == round(0.3 * target) and not outlier[domain == 0].any()
        assert np.array_equal(outlier, pitch == 2) and np.array_equal(outlier, label == -1)
        groups = np.array([yaw_group(int(value)) for value in yaw])
        assert np.array_equal(label[~outlier], (2 * place + groups)[~outlier])
        assert set(place.tolist()) == set(places)
        assert len(file.facts["class_names"]) == 2 * 9
        first = np.flatnonzero(outlier)
        assert np.diff(first).max() < target / 2  # spread, not at the end


def test_classes_and_visits_of_both_domains(built: Path) -> None:
    file = ImageSetFile(built / "train.h5")
    domain, label, outlier = (file.read(name) for name in ("domain", "label", "outlier"))
    for number in (0, 1):
        counts = np.bincount(label[(domain == number) & ~outlier], minlength=12)
        assert counts.min() >= 1 and np.ptp(counts) <= 2
    seen = set()
    for split in ("train", "test"):
        file = ImageSetFile(built / f"{split}.h5")
        domain, visit = file.read("domain"), file.read("visit")
        assert np.array_equal(visit % 2, domain)
        seen |= set(file.read("original").tolist())
    assert len(seen) == 130


def test_the_source_is_the_view_and_the_target_its_painting(
    built: Path, config: PittsCycleGANConfig, network: str
) -> None:
    paint = Translator(load_cyclegan(Path(network)).paint)
    source = load_source(None, config)
    file = ImageSetFile(built / "train.h5")
    for index in (0, 40, 55, 89):
        view = generate(config, "train", index, source).arrays
        stored = file[index]
        if stored["domain"] == 0:
            assert np.array_equal(stored["image"], view["image"])
        else:
            difference = stored["image"].astype(int) - paint(view["image"][None])[0]
            assert np.abs(difference).max() <= 1
            assert (stored["image"] != view["image"]).any()
        for name in set(view) - {"image"}:
            assert np.array_equal(stored[name], view[name])


def test_files_do_not_depend_on_workers_and_know_what_painted_them(
    built: Path, config: PittsCycleGANConfig, tmp_path: Path
) -> None:
    made = build(GENERATOR, config, tmp_path, workers=2)["facts"]
    card = json.loads((built / "card.json").read_text())["facts"]
    assert made["splits"] == card["splits"]
    assert made["painted_by"]["steps"] == 1 and len(made["painted_by"]["network"]) == 64
    assert made["source"] == "town"
    assert card["splits"]["train"]["figures"]["houses_inliers"] > card["splits"]["train"]["figures"]["houses_outliers"]
    file = ImageSetFile(built / "test.h5")
    file.verify()
    assert file.facts["painted_by"]["network"] == made["painted_by"]["network"]
    assert file.facts["parts"]["domain"] == ["street", "painting"]


def test_a_folder_of_photos_is_used_by_both_domains(config: PittsCycleGANConfig, tmp_path: Path) -> None:
    root = tmp_path / "data"
    photos(root / "pittsburgh", 9)
    small = dataclasses.replace(config, train=40, test=20)
    made = build(GENERATOR, small, tmp_path / "out", root)["facts"]
    assert made["source"] == "pittsburgh"
    train = ImageSetFile(tmp_path / "out" / "train.h5")
    test = ImageSetFile(tmp_path / "out" / "test.h5")
    assert not set(train.read("place").tolist()) & set(test.read("place").tolist())
    assert set(train.read("place").tolist()) <= set(range(995, 1004))
    assert (train.read("houses") == -1).all()
    sample = train[0]
    view = View(int(sample["place"]), 1, int(sample["yaw"]))
    photo = Image.open(root / "pittsburgh" / view.folder / f"{view.name}.jpg")
    assert np.array_equal(sample["image"], np.asarray(photo.resize((20, 16), Image.Resampling.BICUBIC)))
    originals = [set(train.read("original")[train.read("domain") == number].tolist()) for number in (0, 1)]
    assert len(originals[0]) == int((train.read("domain") == 0).sum()) and originals[0] & originals[1]


@pytest.mark.parametrize(("changes", "words"), [
    ({"train": 200}, "113 source images are asked for, but its places have 24 views"),
    ({"places": 12}, "has 9 places with all of yaws"),
    ({"network": ""}, "trains for hours or days"), ({"network": "absent.pt"}, "no such file"),
])  # fmt: skip
def test_what_photos_cannot_give_is_refused(
    changes: dict[str, object], words: str, config: PittsCycleGANConfig, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "views", 9)
    asked = dataclasses.replace(config, **({"train": 40, "test": 20, "views": str(folder)} | changes))
    with pytest.raises(UsageError, match=words):
        build(GENERATOR, asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_views_that_are_one_picture_are_refused(config: PittsCycleGANConfig, tmp_path: Path) -> None:
    folder = photos(tmp_path / "views", 9)
    twin = folder / "000" / "000995_pitch1_yaw1.jpg"
    (folder / "000" / "000997_pitch1_yaw3.jpg").write_bytes(twin.read_bytes())
    asked = dataclasses.replace(config, train=40, test=20, views=str(folder))
    with pytest.raises(UsageError, match=r"00099\d_pitch1_yaw\d: the same picture as 00099\d"):
        build(GENERATOR, asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_painting_leaves_the_former_set(
    built: Path, config: PittsCycleGANConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in built.iterdir()}

    def broken(self: Painter, samples: list[Sample]) -> None:
        raise RuntimeError("the network broke")

    monkeypatch.setattr(Painter, "_painted", broken)
    with pytest.raises(RuntimeError, match="the network broke"):
        build(GENERATOR, config, built)
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


def test_places_of_samples_are_those_of_the_machinery(config: PittsCycleGANConfig) -> None:
    source = load_source(None, config)
    for index in (0, 60, 89):
        here = place(0, "train", index, config.domain_counts("train"), 0.3)
        sample = generate(config, "train", index, source)
        assert (int(sample.arrays["domain"]), bool(sample.arrays["outlier"])) == (here.domain, here.outlier)
        check_sample(sample, GENERATOR.layout(config))
    with pytest.raises(IndexError):
        generate(config, "train", 90, source)


def test_without_a_network_a_small_one_is_trained_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthetic_datasets.cyclegan import material, settings, training

    whole, recipe = material.load_material, settings.small_for
    monkeypatch.setattr(material, "load_material", lambda *given: whole(*given[:4], generated=8))
    less = {"ngf": 4, "ndf": 4, "blocks": 1, "judge_steps": 0}
    monkeypatch.setattr(settings, "small_for", lambda *given: dataclasses.replace(recipe(*given), **less))
    asked = PittsCycleGANConfig(train=20, test=10, places=3, places_test=2, size=(16, 16), network_steps=8)
    first = build(GENERATOR, asked, tmp_path)["facts"]["splits"]
    folder = next(path for path in tmp_path.iterdir() if path.name.startswith("cyclegan-"))
    assert {"cyclegan.safetensors", "sheets", "training.pt"} <= {path.name for path in folder.iterdir()}

    def never(*_: object) -> None:
        raise AssertionError("a finished training is not trained again")

    monkeypatch.setattr(training.CycleTask, "take", never)
    assert build(GENERATOR, asked, tmp_path)["facts"]["splits"] == first


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_painting_keeps_the_order(batch: int, config: PittsCycleGANConfig) -> None:
    source = load_source(None, config)
    samples = [generate(config, "train", index, source) for index in range(46, 60)]
    sizes: list[int] = []

    def negative(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return 255 - images

    painted = list(Painter(negative, batch)(iter(samples)))
    for before, after in zip(samples, painted, strict=True):
        same = before.arrays["domain"] == 0
        assert np.array_equal(after.arrays["image"], before.arrays["image"] if same else 255 - before.arrays["image"])
    assert max(sizes) <= batch and sum(sizes) == sum(int(s.arrays["domain"]) for s in samples)


def test_a_photo_that_changes_while_the_set_is_built_stops_it(config: PittsCycleGANConfig) -> None:
    first = generate(config, "train", 0, load_source(None, config))
    again = Sample({**first.arrays, "original": first.arrays["original"] + 1, "domain": np.array(1, "<i8")})
    with pytest.raises(WorkError, match=r"000000_pitch1_yaw1: its file changed while the set was built"):
        list(Painter(lambda images: images, 4)([first, again]))
