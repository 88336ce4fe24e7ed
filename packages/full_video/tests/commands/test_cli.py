"""The command: exit statuses, errors of one line, and its three tasks from end to end."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from full_video import NetworkConfig, build_network, load_network, save_network
from full_video.commands.cli import main
from full_video.data import Augmentation, ClipConfig

Run = Callable[..., tuple[int, str, str]]

SMALL = [
    "--clusters", "4", "--width", "8", "--frozen-norm", "stem", "--size", "32", "--resize", "32", "--epochs", "1",
    "--batch-size", "3", "--memory", "streamed", "--workers", "0", "--device", "cpu",
]  # fmt: skip


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


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path]) -> Path:
    """A list of four videos of noise that drifts, the third cut off, and a network that knows their classes."""
    folder = tmp_path_factory.mktemp("videos")
    for k in range(4):
        frames = 6 + 2 * k
        wide = np.random.default_rng(k).integers(0, 255, (48, 64 + 2 * frames, 3), dtype=np.uint8)
        write_clip(folder / f"video{k}.mp4", [wide[:, 2 * t : 2 * t + 64] for t in range(frames, 0, -1)])
    whole = (folder / "video2.mp4").read_bytes()
    (folder / "video2.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "videos.txt").write_text("".join(f"video{k}.mp4 {k % 2}\n" for k in range(4)))
    (folder / "names.txt").write_text("wave\njump\n")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(NetworkConfig(classes=2, width=8, clusters=4))
        torch.nn.init.normal_(network.fc.weight)
    clips = ClipConfig(augmentation=Augmentation(size=32, resize=32))
    save_network(folder / "network.safetensors", network, ["wave", "jump"], clips)
    return folder


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    return folder / "network.safetensors"


def test_train_then_evaluate_then_predict(tmp_path: Path, folder: Path, run: Run) -> None:
    out = tmp_path / "run"
    data = (folder / "videos.txt", "--option", f"classes={folder / 'names.txt'}")
    (tmp_path / "small.yaml").write_text("network: {clusters: 2}\ntraining: {sampling: {frames: 5}}\n")
    status, printed, _ = run(
        "train", *data, "--validation", data[0], "--out", out, "--settings", tmp_path / "small.yaml", *SMALL
    )
    assert status == 0
    lines = printed.splitlines()
    starts = ["loss", "best", "seconds", "videos", "skipped", "video2.mp4:", str(out / "network.safetensors")]
    assert [line.split()[0] for line in lines] == starts
    assert lines[3].split() == ["videos", "3"] and lines[4].split() == ["skipped", "1"]
    assert np.isfinite(float(lines[0].split()[1]))
    saved = load_network(out / "network.safetensors")
    assert saved.class_names == ("wave", "jump") and saved.clips.augmentation.size == 32
    assert saved.network.config.clusters == 4 and saved.clips.sampling.frames == 5  # options go over the file

    results = tmp_path / "results.json"
    shown = ("--workers", "0", "--device", "cpu", "--frames", "3", "--size", "24")
    status, printed, _ = run("evaluate", out / "network.safetensors", *data, "--out", results, *shown)
    assert status == 0 and "skipped  1" in printed
    known = json.loads(results.read_text())
    assert f"top1     {known['top1']:.4f}" in printed
    assert (known["videos"], known["top5"], len(known["answers"])) == (3, 1.0, 3)
    assert sum(map(sum, known["confusion"])) == 3 and set(known["per_class"]) == {"wave", "jump"}
    assert [video["name"] for video in known["skipped"]] == ["video2.mp4"]

    where = ("--checkpoint", out / "network.safetensors", "--device", "cpu")
    status, printed, _ = run("predict", folder / "video0.mp4", *where)
    assert status == 0 and len(printed.splitlines()) == 2


@pytest.mark.parametrize(("arguments", "message"), [
    (["--grouping", "kmeans"], "cumulative"),
    (["--clusters", "0"], "memory='streamed' needs clusters"),
    (["--flip", "directions"], "needs the classes left, right, up and down, got 2: 0, 1"),
    (["--option", "root"], "--option: expected KEY=VALUE"),
    (["--option", "colour=red"], "has no option 'colour'"),
    (["--weights", "COCO"], "COCO"),
])  # fmt: skip
def test_wrong_usage_of_train(tmp_path: Path, folder: Path, run: Run, arguments: list[str], message: str) -> None:
    out = tmp_path / "run"
    status, printed, error = run("train", folder / "videos.txt", "--out", out, *SMALL, *arguments)
    assert (status, printed) == (2, "")
    assert message in one_line(error)
    assert not out.exists()


def test_data_that_cannot_be_used(tmp_path: Path, folder: Path, checkpoint: Path, run: Run) -> None:
    videos, odd, three = folder / "videos.txt", tmp_path / "odd.txt", folder / "three.txt"
    odd.write_text("video.mp4\n")
    three.write_text("video0.mp4 0\nvideo1.mp4 2\n")
    for arguments, message in (
        (("train", tmp_path, "--out", tmp_path / "run"), "choose its layout by --format: ucf101, "),
        (("train", odd, "--out", tmp_path / "run"), "odd.txt:1: expected 'path frames label' or 'path label'"),
        (("evaluate", checkpoint, videos), f"class 0 of {checkpoint} is 'wave', of {videos} '0'"),
        (("evaluate", checkpoint, three), f"knows 2 classes, {three} has 3; '0' is not among them"),
        (("evaluate", checkpoint, videos, "--size", "0"), "expected 1 <= size <= resize"),
    ):
        status, _, error = run(*arguments, "--device", "cpu")
        assert status == 2 and message in one_line(error)


@pytest.mark.parametrize(("lines", "names", "labels"), [
    (["video0.mp4 0", "video3.mp4 0"], "wave", ["wave", "wave"]),
    (["video0.mp4 1", "video3.mp4 0"], "jump\nwave", ["wave", "jump"]),
    (["video0.mp4 2", "video3.mp4 2"], "other\nanother\njump", ["jump", "jump"]),
])  # fmt: skip
def test_evaluation_takes_the_classes_of_the_checkpoint(
    tmp_path: Path, folder: Path, checkpoint: Path, run: Run, lines: list[str], names: str, labels: list[str]
) -> None:
    (tmp_path / "test.txt").write_text("\n".join(lines))
    (tmp_path / "names.txt").write_text(names)
    status, _, _ = run(
        "evaluate", checkpoint, tmp_path / "test.txt", "--option", f"root={folder}", "--option",
        f"classes={tmp_path / 'names.txt'}", "--out", tmp_path / "out.json", "--workers", "0", "--device", "cpu",
    )  # fmt: skip
    found = json.loads((tmp_path / "out.json").read_text())
    assert status == 0 and list(found["per_class"]) == ["wave", "jump"]
    assert [("wave", "jump")[answer["label"]] for answer in found["answers"]] == labels


def test_predict_writes_what_is_asked_for(tmp_path: Path, folder: Path, checkpoint: Path, run: Run) -> None:
    outputs, clip = (tmp_path / "a.json", tmp_path / "a.png"), folder / "video3.mp4"
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

    (tmp_path / "frames").mkdir()
    for t in range(6):
        Image.new("RGB", (50, 40), (40 * t, 0, 0)).save(tmp_path / f"frames/img_{t + 1:05d}.jpg")
    shared = ("--checkpoint", checkpoint, "--device", "cpu", "--json", "-", "--top", 1)
    status, printed, _ = run("predict", tmp_path / "frames", *shared)
    assert status == 0 and json.loads(printed)["frames"] == 6 and len(json.loads(printed)["classes"]) == 1


def test_predict_of_a_broken_video_fails_and_leaves_nothing(
    tmp_path: Path, folder: Path, checkpoint: Path, run: Run
) -> None:
    broken = folder / "video2.mp4"
    status, printed, error = run(
        "predict", broken, "--checkpoint", checkpoint, "--device", "cpu",
        "--json", tmp_path / "a.json", "--strip", tmp_path / "a.png",
    )  # fmt: skip
    assert (status, printed) == (1, "")
    assert str(broken) in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_predict_of_several_videos(tmp_path: Path, folder: Path, checkpoint: Path, run: Run) -> None:
    given = [folder / "video0.mp4", folder / "video3.mp4"]
    shared = ("--checkpoint", checkpoint, "--device", "cpu")
    status, printed, _ = run("predict", *given, *shared)
    tables = [run("predict", video, *shared)[1].splitlines() for video in given]
    assert status == 0
    pairs = zip(given, tables, strict=True)
    assert printed.splitlines() == [
        line for video, table in pairs for line in (str(video), *(f"  {row}" for row in table))
    ]
    (tmp_path / "list.txt").write_text("video0.mp4\nvideo3.mp4 1\n")
    status, printed, _ = run("predict", tmp_path / "list.txt", *shared, "--root", folder, "--json", "-")
    assert status == 0 and [one["video"] for one in json.loads(printed)] == list(map(str, given))
    status, _, error = run("predict", *given, *shared, "--strip", tmp_path / "a.png")
    assert status == 2 and "--strip draws one video, got 2" in one_line(error)


@pytest.mark.parametrize("fails", ["video2.mp4", "none.mp4", "empty", "videos.h5"])
def test_a_video_that_fails_does_not_lose_the_others(
    tmp_path: Path, folder: Path, checkpoint: Path, run: Run, fails: str
) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "videos.h5").write_bytes(b"no video")
    out = tmp_path / "a.json"
    given = [folder / name for name in ("video0.mp4", fails, "video3.mp4")]
    status, printed, error = run("predict", *given, "--checkpoint", checkpoint, "--device", "cpu", "--json", out)
    assert status == 1
    assert f"1 of 3 videos failed; the first: {given[1]}: " in error.splitlines()[-1]
    assert str(given[2]) in printed and str(given[1]) not in printed
    first, broken, last = json.loads(out.read_text())
    assert [first["video"], broken["video"], last["video"]] == list(map(str, given))
    assert "classes" in first and "classes" in last and set(broken) == {"video", "error"}


@pytest.mark.parametrize(("arguments", "message"), [
    (["--top", "0"], "top must be 1 or more, got 0"),
    (["--template", "a.jpg"], "template must hold the frame's number"),
    (["--strip", "a.jpg"], "strip must be the name of a .png file, got a.jpg"),
    (["--checkpoint", "none.safetensors"], "none.safetensors: no such file"),
])  # fmt: skip
def test_wrong_usage_of_predict(folder: Path, checkpoint: Path, run: Run, arguments: list[str], message: str) -> None:
    status, _, error = run("predict", folder / "video0.mp4", "--checkpoint", checkpoint, *arguments)
    assert status == 2 and message in one_line(error)
    status, _, error = run("predict", folder / "none.mp4", "--checkpoint", checkpoint)
    assert status == 2 and "none.mp4: no such file" in one_line(error)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_help_needs_no_torch(command: str) -> None:
    program = (
        "import sys\nfrom full_video.commands.cli import main\n"
        f"try: main(['{command}', '--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: full-video {command}")
    assert command != "train" or ("--training.learning-rate" in done.stdout and "after warm-up." in done.stdout)


def test_a_missing_extra_is_named(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    status, _, error = run("train", folder / "videos.txt", "--out", folder / "run", *SMALL)
    assert status == 2 and 'pip install "full_video[train]"' in one_line(error)
