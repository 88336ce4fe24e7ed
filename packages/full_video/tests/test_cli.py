"""The command: exit statuses, errors of one line, and its three tasks from end to end."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from full_video.augmentation import Augmentation
from full_video.checkpoint import load_network, save_network
from full_video.cli import main, resolve_device
from full_video.errors import UsageError
from full_video.inputs import InputConfig
from full_video.networks import NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

SMALL = ["clusters=4", "frozen_norm=stem", "size=32", "resize=32", "epochs=1", "batch_size=3", "memory=streamed"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; returns exit status, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


def settings(*changes: str) -> list[str]:
    return [word for assignment in (*SMALL, *changes) for word in ("--set", assignment)]


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


def write_clip(path: Path, frames: int = 12, seed: int = 0) -> Path:
    """A video of 64 by 48 pixels of noise that drifts to the right."""
    noise = np.random.default_rng(seed).integers(0, 255, (48, 64 + 2 * frames, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(frames):
            left = 2 * (frames - t)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, left : left + 64]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A list of four videos of different lengths, the third of which is cut off."""
    for k in range(4):
        write_clip(tmp_path / f"video{k}.mp4", frames=6 + 2 * k, seed=k)
    whole = (tmp_path / "video2.mp4").read_bytes()
    (tmp_path / "video2.mp4").write_bytes(whole[: len(whole) // 2])
    path = tmp_path / "videos.txt"
    path.write_text("".join(f"video{k}.mp4 {k % 2}\n" for k in range(4)))
    (tmp_path / "names.txt").write_text("wave\njump\n")
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(NetworkConfig(classes=2, clusters=4))
        torch.nn.init.normal_(network.fc.weight)
    inputs = InputConfig(augmentation=Augmentation(size=32, resize=32))
    save_network(tmp_path / "network.pt", network, ["wave", "jump"], inputs)
    return tmp_path / "network.pt"


# Train and evaluate


@pytest.mark.slow
def test_train_then_evaluate_then_predict(
    tmp_path: Path, videos: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    out = tmp_path / "run"
    data = (videos, "--option", f"classes={tmp_path / 'names.txt'}")
    status, printed, _ = run("train", *data, "--out", out, "--device", "cpu", *settings())
    assert status == 0
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == [
        "loss",
        "seconds",
        "videos",
        "skipped",
        "video2.mp4:",
        str(out / "network.pt"),
    ]
    assert lines[2].split() == ["videos", "3"] and lines[3].split() == ["skipped", "1"]
    assert np.isfinite(float(lines[0].split()[1]))
    assert any(message.startswith("skipping video2.mp4: ") for message in caplog.messages)
    assert any("epoch 1/1  step 2/2" in message for message in caplog.messages)
    saved = load_network(out / "network.pt")
    assert saved.class_names == ("wave", "jump") and saved.augmentation.size == 32

    figures = tmp_path / "figures.json"
    status, printed, _ = run("evaluate", out / "network.pt", *data, "--device", "cpu", "--out", figures)
    assert status == 0 and "skipped  1" in printed
    known = json.loads(figures.read_text())
    assert f"top1     {known['top1']:.4f}" in printed
    assert (known["videos"], known["top5"], len(known["answers"])) == (3, 1.0, 3)
    assert sum(map(sum, known["confusion"])) == 3 and set(known["per_class"]) == {"wave", "jump"}
    assert [video["name"] for video in known["skipped"]] == ["video2.mp4"]

    status, printed, _ = run("predict", tmp_path / "video0.mp4", "--checkpoint", out / "network.pt", "--device", "cpu")
    assert status == 0 and len(printed.splitlines()) == 2


def test_an_hdf5_file_needs_no_format(write_videos: Write, tmp_path: Path, run: Run) -> None:
    status, printed, _ = run(
        "train", write_videos(), "--out", tmp_path / "run", "--device", "cpu", *settings("max_frames=4")
    )
    assert status == 0 and "videos             6" in printed
    assert load_network(tmp_path / "run" / "network.pt").max_frames == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "colour=red"], "--set colour=red: expected KEY=VALUE with one of classes, backbone"),
        (["--set", "epochs=0"], "--set: epochs must be at least 1, got 0"),
        (["--set", "grouping=kmeans"], "--set: grouping must be one of"),
        (["--set", "frames=many"], "--set frames: expected a whole number, got many"),
        (["--set", "size=0"], "--set: expected 1 <= size <= resize"),
        (["--set", "clusters=0"], "memory='streamed' needs clusters"),
        (["--set", "flip=directions"], "flip='directions' needs the classes left, right, up and down, got 2: 0, 1"),
        (["--set", "frozen_norm=none"], "frozen_norm"),
        (["--format", "youtube"], "format"),
        (["--option", "root"], "--option root: expected KEY=VALUE"),
        (["--option", "colour=red"], "has no option 'colour'"),
        (["--weights", "COCO"], "COCO"),
        (["--device", "gpu"], "--device must be auto, cpu or cuda, got 'gpu'"),
    ],
)
def test_wrong_usage_of_train(tmp_path: Path, videos: Path, run: Run, arguments: list[str], message: str) -> None:
    out = tmp_path / "run"
    status, printed, error = run("train", videos, "--out", out, *settings(), "--device", "cpu", *arguments)
    assert (status, printed) == (2, "")
    assert message in one_line(error)
    assert not out.exists()


def test_data_that_cannot_be_used(tmp_path: Path, run: Run) -> None:
    status, _, error = run("train", tmp_path, "--out", tmp_path / "run")
    assert status == 2 and "say which layout it has by --format" in one_line(error)
    status, _, error = run("train", tmp_path / "none.txt", "--out", tmp_path / "run")
    assert status == 2 and "none.txt" in one_line(error)
    (tmp_path / "odd.txt").write_text("video.mp4\n")
    status, _, error = run("train", tmp_path / "odd.txt", "--out", tmp_path / "run")
    assert status == 2 and "odd.txt:1: expected 'path frames label' or 'path label'" in one_line(error)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_never_replaced_silently(videos: Path, tmp_path: Path, run: Run) -> None:
    status, _, error = run("train", videos, "--out", tmp_path / "run", "--device", "cuda")
    assert status == 2 and "torch finds no CUDA device" in one_line(error)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(UsageError):
        resolve_device("mps")


def test_classes_of_another_set(tmp_path: Path, videos: Path, checkpoint: Path, run: Run) -> None:
    status, _, error = run("evaluate", checkpoint, videos, "--device", "cpu")
    assert status == 2 and f"class 0 of {checkpoint} is 'wave', of {videos} '0'" in one_line(error)
    videos.write_text("video0.mp4 0\nvideo1.mp4 2\n")
    status, _, error = run("evaluate", checkpoint, videos, "--device", "cpu")
    assert status == 2 and "knows 2 classes" in one_line(error) and "has 3" in error


# Predict


def test_predict_writes_what_is_asked_for(tmp_path: Path, clip: Path, checkpoint: Path, run: Run) -> None:
    outputs = tmp_path / "a.json", tmp_path / "a.png"
    status, printed, _ = run(
        "predict", clip, "--checkpoint", checkpoint, "--device", "cpu", "--json", outputs[0], "--strip", outputs[1]
    )
    assert status == 0
    rows = [line.split() for line in printed.splitlines()]
    assert sorted(row[0] for row in rows) == ["jump", "wave"]
    assert sum(float(row[1]) for row in rows) == pytest.approx(1, abs=1e-3)
    document = json.loads(outputs[0].read_text())
    assert document["frames"] == 12 and document["video"] == str(clip)
    assert [guess["name"] for guess in document["classes"]] == [row[0] for row in rows]
    assert len(document["cluster"]) == 12 and set(document["cluster"]) == {0, 1, 2, 3}
    with Image.open(outputs[1]) as picture:
        assert picture.format == "PNG" and picture.width == 1280

    status, printed, _ = run("predict", clip, "--checkpoint", checkpoint, "--device", "cpu", "--json", "-", "--top", 1)
    assert status == 0 and len(json.loads(printed)["classes"]) == 1


def test_predict_reads_folders_of_images(tmp_path: Path, checkpoint: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "frames"
    folder.mkdir()
    for t in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / f"img_{t + 1:05d}.jpg")
    status, printed, _ = run("predict", folder, "--checkpoint", checkpoint, "--device", "cpu", "--json", "-")
    assert status == 0 and json.loads(printed)["frames"] == 6


def test_predict_of_a_broken_video_fails_and_leaves_nothing(
    tmp_path: Path, clip: Path, checkpoint: Path, run: Run
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:500])
    before = sorted(path.name for path in tmp_path.iterdir())
    status, printed, error = run(
        "predict", broken, "--checkpoint", checkpoint, "--device", "cpu",
        "--json", tmp_path / "a.json", "--strip", tmp_path / "a.png",
    )  # fmt: skip
    assert (status, printed) == (1, "")
    assert str(broken) in one_line(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0"], "--top must be at least 1, got 0"),
        (["--strip", "a.jpg"], "--strip a.jpg: the picture is a PNG"),
    ],
)
def test_wrong_usage_of_predict(clip: Path, checkpoint: Path, run: Run, arguments: list[str], message: str) -> None:
    status, _, error = run("predict", clip, "--checkpoint", checkpoint, *arguments)
    assert status == 2 and message in one_line(error)


def test_checkpoints_and_videos_that_cannot_be_used(tmp_path: Path, clip: Path, checkpoint: Path, run: Run) -> None:
    status, _, error = run("predict", tmp_path / "none.mp4", "--checkpoint", checkpoint)
    assert status == 2 and "none.mp4: no such file" in one_line(error)
    for name, content, message in (
        ("text.pt", b"hello", "not a readable checkpoint"),
        ("cut.pt", checkpoint.read_bytes()[:1000], "not a readable checkpoint"),
    ):
        (tmp_path / name).write_bytes(content)
        status, _, error = run("predict", clip, "--checkpoint", tmp_path / name)
        assert status == 2 and message in one_line(error)
    torch.save({"format": "location_anticipation.detector/1"}, tmp_path / "other.pt")
    status, _, error = run("predict", clip, "--checkpoint", tmp_path / "other.pt")
    assert status == 2 and "a checkpoint of another kind" in one_line(error)
    status, _, error = run("predict", clip, "--checkpoint", tmp_path / "none.pt")
    assert status == 2 and "none.pt: no such file" in one_line(error)


def test_debug_shows_the_traceback(tmp_path: Path, checkpoint: Path, run: Run) -> None:
    status, _, error = run("predict", tmp_path / "none.mp4", "--checkpoint", checkpoint, "--debug")
    assert status == 2 and "Traceback" in error and error.splitlines()[-1].startswith("error: ")


def test_a_missing_extra_is_named(clip: Path, checkpoint: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    for name in [name for name in sys.modules if name in ("full_video.training", "full_video.evaluation")]:
        monkeypatch.delitem(sys.modules, name)
    status, _, error = run("train", clip.parent / "x.txt", "--out", clip.parent / "run")
    assert status == 2 and 'pip install "full_video[train]"' in one_line(error)


def test_an_interrupt_ends_with_130(clip: Path, checkpoint: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("full_video.predict_command.run", interrupted)
    status, _, error = run("predict", clip, "--checkpoint", checkpoint)
    assert status == 130 and one_line(error) == "error: interrupted; nothing was written\n"


def test_too_little_memory_is_one_line(clip: Path, checkpoint: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1.00 GiB.\nSee the manual."
        )

    monkeypatch.setattr("full_video.predict_command.run", too_large)
    status, _, error = run("predict", clip, "--checkpoint", checkpoint)
    assert status == 1
    assert one_line(error).startswith("error: CUDA out of memory. Tried to allocate 2.00 GiB; memory=streamed or ")


def test_every_command_has_help(run: Run) -> None:
    for arguments in ([], ["train"], ["evaluate"], ["predict"]):
        status, printed, _ = run(*arguments, "--help")
        assert status == 0 and printed.startswith("usage: full-video")
    status, _, error = run("dance")
    assert status == 2 and "invalid choice" in error


@pytest.mark.skipif(shutil.which("full-video") is None, reason="the package is not installed")
def test_the_command_is_installed() -> None:
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="full-video")
    assert entry.load() is main
