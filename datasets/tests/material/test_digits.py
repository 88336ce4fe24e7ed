"""Where digits come from: the IDX reader, MNIST, scikit-learn's digits and the choice between them."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthetic_datasets import Digits, UsageError, load_digits
from synthetic_datasets.material.digits import enlarge, paste, read_idx


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(root: Path, packed: bool = False) -> Path:
    """A small MNIST: image i has grey value 1 + i (train) or 100 + i (test) and label i modulo 10."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count, first in (("train", 30, 1), ("t10k", 20, 100)):
        grey = np.arange(first, first + count, dtype=np.uint8)
        images = np.broadcast_to(grey[:, None, None], (count, 28, 28)).copy()
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            data, name = idx_bytes(values), f"{prefix}-{kind}-ubyte"
            (raw / f"{name}.gz" if packed else raw / name).write_bytes(gzip.compress(data) if packed else data)
    return raw


@pytest.mark.parametrize("name", ["values-ubyte", "values-ubyte.gz"])
def test_idx_round_trip(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    data = idx_bytes(values)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert np.array_equal(read_idx(tmp_path / name, axes=3), values)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda data: data[:-1], r"75 bytes, its header promises 76 for shape \(3, 4, 5\)"),
    (lambda data: data + b"x", "77 bytes, its header promises 76"),
    (lambda data: data[:7], "7 bytes, shorter than an IDX header of 16"), (lambda data: b"", "0 bytes, shorter"),
    (lambda data: b"\0\0\x0d\3" + data[4:], "starts with 00 00 0d 03, .* with 00 00 08 03"),
    (lambda data: b"<html>" + data, "starts with 3c 68 74 6d"),
])  # fmt: skip
def test_damaged_idx_says_what_came(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(idx_bytes(np.zeros((3, 4, 5), np.uint8))))
    with pytest.raises(UsageError, match=message) as caught:
        read_idx(path, axes=3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, -9])
def test_damaged_gzip(tmp_path: Path, keep: int) -> None:
    data = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))
    path = tmp_path / "labels.gz"
    path.write_bytes(data[:keep] if keep else b"not gzip at all")
    with pytest.raises(UsageError, match="not a whole gzip file"):
        read_idx(path, axes=1)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_both_files(tmp_path: Path, packed: bool) -> None:
    write_mnist(tmp_path, packed=packed)
    digits = load_digits(tmp_path)
    assert digits.source == "mnist"
    assert digits.splits["train"].images[:, 0, 0].tolist() == list(range(1, 31))
    assert digits.splits["test"].images[:, 0, 0].tolist() == list(range(100, 120))
    assert digits.splits["test"].of_class(3).tolist() == [3, 13]


@pytest.mark.parametrize(("labels", "message"), [
    (None, r"train-labels-idx1-ubyte .* is missing"), (np.zeros(29), "30 images, but 29 labels"),
    (np.arange(30) % 9, r"every label 0\.\.9 .* absent: \[9\]"),
])  # fmt: skip
def test_incomplete_mnist_is_an_error_not_a_fallback(tmp_path: Path, labels: np.ndarray | None, message: str) -> None:
    path = write_mnist(tmp_path) / "train-labels-idx1-ubyte"
    path.unlink()
    if labels is not None:
        path.write_bytes(idx_bytes(labels.astype(np.uint8)))
    with pytest.raises(UsageError, match=message):
        load_digits(tmp_path)


def test_where_digits_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UsageError, match=r"--data-root: .*nowhere is not a folder"):
        load_digits(tmp_path / "nowhere")
    monkeypatch.setenv("EFFICIENCY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"EFFICIENCY_DATA: .*nowhere is not a folder"):
        load_digits()
    write_mnist(tmp_path / "with")
    (tmp_path / "without").mkdir()
    monkeypatch.setenv("EFFICIENCY_DATA", str(tmp_path / "with"))
    assert load_digits().source == "mnist"
    assert not caplog.records
    assert load_digits(tmp_path / "without").source == "sklearn-digits"
    assert "without holds no MNIST/raw; using scikit-learn's" in caplog.text


def test_scikit_learn_s_digits(digits: Digits) -> None:
    train, test = digits.splits["train"], digits.splits["test"]
    assert not set(train.indices) & set(test.indices)
    assert sorted([*train.indices, *test.indices]) == list(range(1797))
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}
    for part in (train, test):
        assert np.bincount(part.labels).min() > 50
        assert part.images.shape[1:] == (28, 28)
    image = np.zeros((8, 8))
    image[2:6, 3:5] = 16
    large = enlarge(image)
    assert large.dtype == np.uint8
    assert large[14, 14] == 255
    assert large.sum(dtype=int) == pytest.approx(255 * 8 * 2.5**2, rel=0.05)
    large[4:24, 4:24] = 0
    assert not large.any()


def test_real_mnist(real_data: Path | None) -> None:
    if real_data is None or not (real_data / "MNIST" / "raw").is_dir():
        pytest.skip("EFFICIENCY_DATA names no folder with MNIST")
    digits = load_digits(real_data)
    assert len(digits.splits["train"].images) == 60_000
    assert digits.splits["train"].labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert digits.splits["test"].labels[:5].tolist() == [7, 2, 1, 0, 4]
    train = {image.tobytes() for image in digits.splits["train"].images}
    assert not any(image.tobytes() in train for image in digits.splits["test"].images)


def test_paste_beyond_every_side() -> None:
    patch = np.arange(1, 10, dtype=np.uint8).reshape(3, 3)
    for y in range(-5, 9):
        for x in range(-5, 11):
            frame, large = np.zeros((4, 6), np.uint8), np.zeros((20, 22), np.uint8)
            paste(frame, patch, x, y)
            large[8 + y : 11 + y, 8 + x : 11 + x] = patch
            assert np.array_equal(frame, large[8:12, 8:14]), (x, y)
