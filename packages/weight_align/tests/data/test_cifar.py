"""CIFAR's pickles: read as they are, and unable to run code."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from weight_align.data import ImageTensor, open_dataset
from weight_align.data.cifar import read_pickle


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2).replace(b"numpy._core.", b"numpy.core."))  # as in the originals


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """Four images a batch file; pixel values say batch, image, colour, row."""
    folder = tmp_path / "cifar-10-batches-py"
    write(folder / "batches.meta", {b"label_names": [f"class{k}".encode() for k in range(10)]})
    for number, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        data = np.zeros((4, 3, 32, 32), dtype=np.uint8)
        data += (np.arange(3, dtype=np.uint8) * 60)[:, None, None] + np.arange(32, dtype=np.uint8)[:, None]
        data += (number * 4 + np.arange(4, dtype=np.uint8))[:, None, None, None]
        write(folder / name, {b"data": data.reshape(4, -1), b"labels": [number, 1, 2, 9], b"filenames": [b"a.png"] * 4})
    return tmp_path


def test_cifar10(cifar10: Path) -> None:
    images = open_dataset(cifar10, "cifar10", "train")
    assert isinstance(images, ImageTensor) and len(images) == 20 and images.size == (32, 32)
    assert images.info.class_names[9] == "class9" and images.info.name == "CIFAR-10"
    assert images.labels.tolist() == [label for k in range(5) for label in (k, 1, 2, 9)]
    for index in (0, 7, 19):
        for colour in range(3):
            wanted = torch.arange(32) + 60 * colour + index
            assert torch.equal(images.images[index, colour, :, 5].long(), wanted)
    inside = open_dataset(cifar10 / "cifar-10-batches-py", "cifar10", "test")
    assert len(inside) == 4 and inside.labels.tolist() == [5, 1, 2, 9]
    assert inside.info.content_digest != images.info.content_digest


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    names = [f"fine{k}".encode() for k in range(100)]
    write(folder / "meta", {b"fine_label_names": names, b"coarse_label_names": [b"c"] * 20})
    content = {b"data": np.zeros((2, 3072), dtype=np.uint8), b"fine_labels": [99, 3], b"coarse_labels": [1, 2]}
    write(folder / "test", content)
    images = open_dataset(tmp_path, "cifar100", "test")
    assert images.labels.tolist() == [99, 3] and len(images.info.class_names) == 100


class Runs:
    """Unpickled by an ordinary unpickler, this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    write(tmp_path / "evil", {b"data": Runs(proof)})
    with pytest.raises(UsageError, match=r"evil: not a readable pickle of arrays \(it asks for (posix|nt)\.mkdir"):
        read_pickle(tmp_path / "evil")
    assert not proof.exists()
    pickle.loads((tmp_path / "evil").read_bytes())
    assert proof.exists()


def test_what_does_not_fit_is_refused(cifar10: Path) -> None:
    folder = cifar10 / "cifar-10-batches-py"
    with pytest.raises(UsageError, match="split must be one of train, test, got 'val'"):
        open_dataset(cifar10, "cifar10", "val")
    with pytest.raises(UsageError, match=r"expected cifar-100-python, or a folder with it; meta is missing"):
        open_dataset(cifar10, "cifar100", "train")
    two = np.zeros((2, 3072), dtype=np.uint8)
    for content, message in (
        ({b"data": two}, r"test_batch: has no 'labels'"),
        ({b"data": two[:, :3000], b"labels": [1, 2]}, r"expected data uint8 \(N, 3072\), got uint8 \(2, 3000\)"),
        ({b"data": two, b"labels": [1, 10]}, "image 1 has label 10, expected 0 to 9"),
    ):
        write(folder / "test_batch", content)
        with pytest.raises(UsageError, match=message):
            open_dataset(cifar10, "cifar10", "test")
    (folder / "data_batch_4").write_bytes((folder / "data_batch_4").read_bytes()[:100])
    with pytest.raises(UsageError, match=r"data_batch_4: not a readable pickle"):
        open_dataset(cifar10, "cifar10", "train")
    (folder / "data_batch_3").unlink()
    with pytest.raises(UsageError, match=r"data_batch_3: no such file"):
        open_dataset(cifar10, "cifar10", "train")
