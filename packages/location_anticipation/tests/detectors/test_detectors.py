"""Detectors of other people: torchvision's from a file of weights, and any function from an image to boxes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import get_model

from efficiency_core.errors import UsageError, WorkError
from location_anticipation.detectors import ImageDetector, open_detector, read_class_names, torchvision_names
from location_anticipation.inference import VideoDetector

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "fasterrcnn_mobilenet_v3_large_320_fpn"
FRAMES = [torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(k)) for k in range(3)]


def torchvision_model(classes: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = get_model(NAME, weights=None, weights_backbone=None, num_classes=classes + 1)
        torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.5)  # finds something anywhere
    return model.eval()


def test_torchvisions_detector_is_torchvisions_bit_for_bit(tmp_path: Path) -> None:
    assert NAME in torchvision_names()
    own = torchvision_model(2)
    torch.save({"model": own.state_dict()}, tmp_path / "weights.pth")
    opened = open_detector(NAME, tmp_path / "weights.pth", ["cat", "dog"])
    assert opened.class_names == ("cat", "dog") and not opened.model.training
    with torch.inference_mode():
        expected = own(FRAMES[:1]) + own(FRAMES[1:2]) + own(FRAMES[2:])
    for found, wanted in zip(VideoDetector(opened.model, 1)(FRAMES), expected, strict=True):
        assert len(found.boxes) and found.keyframe
        for name in ("boxes", "labels", "scores"):
            assert torch.equal(getattr(found, name), wanted[name])


def test_published_names_go_with_a_file_of_91_outputs(tmp_path: Path) -> None:
    torch.save(torchvision_model(90).state_dict(), tmp_path / "coco.pth")
    names = open_detector(NAME, tmp_path / "coco.pth").class_names
    assert len(names) == 90 and names[0] == "person"


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        (
            NAME,
            ["a"],
            "these weights do not fit fasterrcnn_mobilenet_v3_large_320_fpn of 1 classes and background .*shape",
        ),
        ("fasterrcnn_resnet50_fpn_v3", None, "did you mean fasterrcnn_resnet50_fpn_v2"),
        ("a.py:make", None, "a file of weights is for a detector of torchvision"),
        ("v3.onnx", None, r"v3\.onnx: a network alone gives no boxes; give FILE\.py:FUNCTION"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, text: str, classes: list[str] | None, message: str) -> None:
    torch.save(torchvision_model(2).state_dict(), tmp_path / "w.pth")
    weights = None if "v3" in text and text != NAME else tmp_path / "w.pth"
    with pytest.raises(UsageError, match=message):
        open_detector(text, weights, classes)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        WorkError, match=r"cannot be downloaded \(no network\); download them elsewhere and give the file"
    ):
        open_detector(NAME)


def test_a_function_of_a_file_is_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_detector.py").write_text(
        "def detect(image):\n"
        "    height, width = image.shape[1:]\n"
        "    return [[1, 2, width, height]], [3], [0.5]\n"
        "def plain():\n    return detect\n"
        "def named():\n    return detect, ['a', 'b', 'c']\n"
    )
    opened = open_detector(f"{tmp_path}/own_detector.py:named")
    (found,) = opened.model([FRAMES[0]])
    assert opened.class_names == ("a", "b", "c")
    assert found["boxes"].tolist() == [[1, 2, 80, 60]] and found["boxes"].dtype == torch.float32
    assert found["labels"].tolist() == [3] and found["scores"].tolist() == [0.5]
    monkeypatch.chdir(tmp_path)
    assert open_detector("own_detector:plain").class_names == ()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("make = 3", "has no function make"),
        ("def make(): raise RuntimeError('no file')", "the function raised RuntimeError: no file"),
        ("def make(): return 4", "expected a function from an image to boxes, got int"),
        ("import nothing_of_this_name", "cannot be imported .ModuleNotFoundError"),
        ("def make(:", "cannot be imported .SyntaxError"),
    ],
)
def test_files_that_make_no_detector(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(UsageError, match=message):
        open_detector(f"{tmp_path}/own.py:make")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"boxes": [[0, 0, 1, 1]], "scores": [1.0]}, "gives boxes, scores, without labels"),
        (None, "expected a dict with boxes, labels, scores or a tuple of these, got NoneType"),
        (([[0, 0, 1, 1]], [1], [0.5, 0.6]), "expected boxes .N, 4., labels .N,. and scores"),
        (([[0, 0, 1, np.inf]], [1], [0.5]), "not finite"),
        (([[0, 0, 1, 1]], [0], [0.5]), "gives the label 0; labels start at 1"),
    ],
)
def test_answers_that_are_no_detections(answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"own: .*{message}"):
        ImageDetector(lambda image: answer, "own")([FRAMES[0]])


def test_an_image_without_objects() -> None:
    (found,) = ImageDetector(lambda image: (np.zeros((0, 4)), [], []))([FRAMES[0]])
    assert found["boxes"].shape == (0, 4) and found["labels"].dtype == torch.int64


def test_class_names_are_lines(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\nred fox\n")
    assert read_class_names(tmp_path / "names.txt") == ["cat", "red fox"]
    (tmp_path / "names.txt").write_text("cat\n\ndog\n")
    with pytest.raises(UsageError, match=r"names.txt:2: expected the name of class 2"):
        read_class_names(tmp_path / "names.txt")
    with pytest.raises(UsageError, match="cannot be read as class names"):
        read_class_names(tmp_path / "missing.txt")
