"""The adapter of the README, with networks in TorchScript and ONNX that the tests make."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from location_anticipation.detectors import open_detector

pytestmark = pytest.mark.usefixtures("one_thread")
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


class Corners(nn.Module):
    """A dog in the middle of the picture, found twice, and a cat at its right end, less surely where the picture is dark."""

    def forward(self, images: Tensor) -> Tensor:
        cells = torch.tensor(
            [
                [208.0, 208.0, 104.0, 208.0, 0.0, 0.9],
                [210.0, 208.0, 104.0, 208.0, 0.1, 0.8],
                [364.0, 104.0, 104.0, 104.0, 0.5, 0.0],
                [10.0, 10.0, 5.0, 5.0, 0.01, 0.02],
            ]
        )
        sure = torch.cat((torch.ones(4), images.mean().expand(2)))
        return (cells * sure)[None].expand(images.shape[0], -1, -1)


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that writes own.py as the README has it, with some words replaced; returns what ``--detector`` is given."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, words: dict[str, str] | None = None) -> str:
        (code,) = re.findall(r"```python\n(# own\.py\n.*?)```", README, re.S)
        for said, instead in (words or {}).items():
            assert code.count(said) == 1
            code = code.replace(said, instead)
        (tmp_path / name).write_text(code)
        return f"{name}:make"

    return write


def check(text: str) -> None:
    opened = open_detector(text)
    assert opened.class_names == ("cat", "dog")
    found, dark = opened.model([torch.ones(3, 208, 832), torch.full((3, 60, 80), 0.5)])
    torch.testing.assert_close(found["boxes"], torch.tensor([[312.0, 52, 520, 156], [624, 26, 832, 78]]))
    assert found["labels"].tolist() == [2, 1] and found["scores"].tolist() == pytest.approx([0.9, 0.5])
    assert dark["scores"].tolist() == pytest.approx([0.45, 0.25])


def test_torchscript(tmp_path: Path, adapter: Callable[..., str]) -> None:
    torch.jit.script(Corners()).save(str(tmp_path / "detector.torchscript"))
    check(adapter("own_script.py"))


def test_onnx(tmp_path: Path, adapter: Callable[..., str]) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    float_, helper = onnx.TensorProto.FLOAT, onnx.helper
    images = helper.make_tensor_value_info("images", float_, ["n", 3, 416, 416])
    found = helper.make_tensor_value_info("found", float_, [1, 4, 6])
    cells = Corners()(torch.ones(1, 3, 2, 2))[0]
    boxes = torch.cat((cells[:, :4], torch.zeros(4, 2)), dim=1)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["probabilities", "mean"], ["sure"]),
        helper.make_node("Add", ["boxes", "sure"], ["found"]),
    ]
    values = [
        helper.make_tensor("probabilities", float_, [1, 4, 6], (cells - boxes).flatten().tolist()),
        helper.make_tensor("boxes", float_, [1, 4, 6], boxes.flatten().tolist()),
    ]
    graph = helper.make_graph(nodes, "corners", [images], [found], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(tmp_path / "detector.onnx"))
    lines = re.findall(r"`((?:session|found) = [^`]*)`", README)
    assert len(lines) == 2
    words = {
        'network = torch.jit.load("detector.torchscript").eval()': lines[0],
        "found = network.to(image.device)(small)[0]": lines[1],
        "import torch\n": "import onnxruntime\nimport torch\n",
    }
    check(adapter("own_onnx.py", words))
