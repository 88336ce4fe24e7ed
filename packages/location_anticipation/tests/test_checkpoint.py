"""Checkpoints: what comes back, what is refused, and what a full disk leaves."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from location_anticipation import DetectorConfig, UsageError, WorkError, build_detector, load_detector, save_detector
from location_anticipation.checkpoint import read_tensors, write_tensors

SizeLimit = Callable[[int], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Config = Callable[..., DetectorConfig]


@pytest.fixture
def saved(tmp_path: Path, tiny: Config) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_detector(tmp_path / "detector.pt", build_detector(tiny()), ["filled", "hollow"])
    return tmp_path / "detector.pt"


def change(path: Path, **changes: Any) -> None:
    """Rewrite a checkpoint with other content; None leaves an entry out."""
    content = torch.load(path, weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)


def test_a_detector_comes_back_as_it_was(tmp_path: Path, tiny: Config) -> None:
    config = tiny(space="coder", anchor_sizes=(16, 32), fpn=False, class_agnostic=False, score_threshold=0.0)
    model = build_detector(config).eval()
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
    save_detector(tmp_path / "detector.pt", model, ["filled", "hollow"])
    loaded, names = load_detector(str(tmp_path / "detector.pt"))
    assert names == ["filled", "hollow"] and loaded.config == config and not loaded.training
    image = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (before,), (after,) = model([image]), loaded([image])
    assert len(before["boxes"]) > 0
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_holds_tensors_and_plain_values_only(saved: Path, tiny: Config) -> None:
    content = torch.load(saved, weights_only=True)  # refuses anything else
    assert set(content) == {"format", "config", "class_names", "model"}
    assert content["config"] == asdict(tiny())


def test_equal_content_gives_equal_bytes_whatever_the_name(tmp_path: Path) -> None:
    content = {"format": "x", "weight": torch.arange(1000.0)}
    for name in ("a.pt", "a.pt", "other name.pt"):
        write_tensors(tmp_path / name, content)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other name.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "other name.pt"]


def test_names_must_fit_the_classes(tmp_path: Path, tiny: Config) -> None:
    with pytest.raises(ValueError, match="2 classes but 3 names"):
        save_detector(tmp_path / "detector.pt", build_detector(tiny()), ["a", "b", "c"])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt: no such file; expected a checkpoint"):
        load_detector(tmp_path / "none.pt")
    with pytest.raises(UsageError, match="no such file"):
        load_detector(tmp_path)  # a folder


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9999])
def test_a_truncated_file(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UsageError, match=r"detector\.pt: not a readable checkpoint \(.+\)") as caught:
        load_detector(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"hello", b"\x80\x02.", b"\x80\x02}q\x00.", b"u", b"(lp0\n0."])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.pt").write_bytes(content)
    with pytest.raises(UsageError, match=r"odd\.pt: "):
        load_detector(tmp_path / "odd.pt")


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"format": "location_anticipation.detector/1", "model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(UsageError, match=r"trap\.pt: not a readable checkpoint"):
        load_detector(tmp_path / "trap.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content", [{"format": "location_anticipation.training/1"}, {"state": 1}, [1, 2], torch.ones(1)]
)
def test_another_models_checkpoint(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"other\.pt: a checkpoint of another kind \(format .*, expected"):
        load_detector(tmp_path / "other.pt")


def test_another_number_of_classes_than_its_weights(saved: Path, tiny: Config) -> None:
    change(saved, config=asdict(tiny(num_classes=5)))
    with pytest.raises(UsageError, match=r"detector\.pt: its weights do not fit its own configuration"):
        load_detector(saved)


def test_a_configuration_that_makes_no_sense(saved: Path, tiny: Config) -> None:
    change(saved, config=asdict(tiny()) | {"backbone": "vgg16"})
    with pytest.raises(UsageError, match=r"do not fit its own configuration \(backbone must be one of"):
        load_detector(saved)


def test_another_version_of_the_configuration(saved: Path, tiny: Config) -> None:
    config = asdict(tiny())
    del config["space"]
    change(saved, config=config | {"colour": True})
    with pytest.raises(
        UsageError, match=r"another version of this package \(settings that differ: \['colour', 'space'\]\)"
    ):
        load_detector(saved)


@pytest.mark.parametrize("limit", [0, 1000, 100_000])
def test_a_full_disk_leaves_the_older_file_and_nothing_else(
    file_size_limit: SizeLimit, tmp_path: Path, limit: int
) -> None:
    path = tmp_path / "deep" / "detector.pt"
    write_tensors(path, {"format": "old"})
    with file_size_limit(limit), pytest.raises(WorkError) as caught:
        write_tensors(path, {"format": "new", "weight": torch.zeros(100_000)})
    assert str(caught.value) == f"{path}: cannot be written (File too large)"
    assert [file.name for file in path.parent.iterdir()] == ["detector.pt"]
    assert read_tensors(path, "old") == {"format": "old"}


def test_an_error_that_is_not_the_disks_is_not_blamed_on_it(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Can't pickle") as caught:
        write_tensors(tmp_path / "detector.pt", {"function": lambda: None})
    assert not isinstance(caught.value, WorkError)
    assert list(tmp_path.iterdir()) == []
