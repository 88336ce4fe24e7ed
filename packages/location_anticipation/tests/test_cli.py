"""The command: exit statuses, errors of one line, and its three tasks from end to end."""

import json
import logging
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from location_anticipation import DetectorConfig, build_detector, load_detector, save_detector
from location_anticipation.cli import main, parse_settings, resolve_device
from location_anticipation.errors import UsageError
from location_anticipation.training import TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Config = Callable[..., DetectorConfig]
Run = Callable[..., tuple[int, str, str]]

SMALL = [
    "horizon=3", "backbone=resnet18", "channels=32", "representation=32", "trajectory_hidden=48", "min_size=48",
    "max_size=80", "anchor_sizes=[12,16,24,32,48]", "rois_per_image=16", "iterations=2", "batch_size=2",
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


def settings(*changes: str) -> list[str]:
    return [word for assignment in (*SMALL, *changes) for word in ("--set", assignment)]


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


@pytest.fixture
def checkpoint(tmp_path: Path, tiny: Config) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_detector(tiny())
        torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        save_detector(tmp_path / "detector.pt", model, ["filled", "hollow"])
    return tmp_path / "detector.pt"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 8 frames, 64 by 48, of noise that drifts to the right."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(8):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, 16 - 2 * t : 80 - 2 * t]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return tmp_path / "clip.mp4"


# Train and evaluate


@pytest.mark.slow
def test_train_then_evaluate(tmp_path: Path, write_tracks: Write, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    data, out = write_tracks(), tmp_path / "run"
    caplog.set_level(logging.INFO)
    status, printed, _ = run("train", data, "--out", out, "--motion", "linear", "--device", "cpu", *settings())
    assert status == 0
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == [
        "loss_classifier", "loss_box_reg", "loss_trajectory", "loss_objectness", "loss_rpn_box_reg",
        str(out / "detector.pt"),
    ]  # fmt: skip
    assert all(np.isfinite(float(line.split()[1])) for line in lines[:-1])
    assert any("step 2/2" in message for message in caplog.messages)
    model, names = load_detector(out / "detector.pt")
    assert names == ["filled", "hollow"]
    assert (model.config.horizon, model.config.anchor_sizes) == (3, (12, 16, 24, 32, 48))

    figures = tmp_path / "figures.json"
    arguments = ("evaluate", out / "detector.pt", data, "--device", "cpu", "--out", figures)
    status, printed, _ = run(*arguments, "--keyframe-step", 3)
    assert status == 0
    assert "trajectory_iou" in printed and "keyframes          8" in printed.splitlines()
    known = json.loads(figures.read_text())
    assert (known["keyframes"], known["frames"]) == (8, 24)
    assert 0 <= known["trajectory_iou"] <= 1 and 0 < known["no_motion_iou"] < 1

    status, printed, _ = run(*arguments)  # every frame a keyframe: there is nothing to anticipate
    assert status == 0 and "trajectory_iou     nan" in printed
    assert json.loads(figures.read_text())["trajectory_iou"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "colour=red"], "--set colour=red: expected KEY=VALUE with one of num_classes, horizon"),
        (["--set", "iterations"], "--set iterations: expected KEY=VALUE"),
        (["--set", "horizon=-1"], "--set: horizon T must be 0 (plain detector) or more, got -1"),
        (["--set", "iterations=many"], "--set iterations: expected a whole number, got many"),
        (["--set", "iterations=2.5"], "--set iterations: expected a whole number, got 2.5"),
        (["--set", "fpn=1"], "--set fpn: expected true or false, got 1"),
        (["--set", "backbone=18"], "--set backbone: expected text, got 18"),
        (["--set", "anchor_sizes=[8,b]"], "--set anchor_sizes: expected whole numbers such as [32,64], got [8,b]"),
        (["--set", "learning_rate=null"], "--set learning_rate: expected a number, got null"),
        (["--set", "learning_rate=0"], "--set: learning_rate must be positive, got 0"),
        (["--set", "backbone=vgg16"], "--set: backbone must be one of"),
        (["--set", "norm=layer"], "norm must be one of"),
        (["--set", "num_classes=3"], "has 2 classes, the detector is asked for 3"),
        (["--backbone-weights", "COCO"], "weights of resnet18 must be one of ('IMAGENET1K_V1',), got 'COCO'"),
        (
            ["--motion", "circular"],
            "--motion must be one of annotated, simulated, linear, random, none, got 'circular'",
        ),
        (["--devices", "0"], "--devices must be 1 or more, got 0"),
        (["--device", "tpu"], "--device must be auto, cpu or cuda, got 'tpu'"),
    ],
)
def test_wrong_usage_of_train(
    tmp_path: Path, write_tracks: Write, run: Run, arguments: list[str], message: str
) -> None:
    out = tmp_path / "run"
    status, printed, error = run(
        "train", write_tracks(), "--out", out, "--device", "cpu", "--set", "backbone=resnet18", *arguments
    )
    assert status == 2 and printed == ""
    assert message in one_line(error)
    assert not out.exists()


def test_cuda_where_there_is_none(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments in (["train", "a.h5", "--out", tmp_path], ["evaluate", "a.pt", "a.h5"]):
        status, _, error = run(*arguments, "--device", "cuda")
        assert status == 2
        assert one_line(error) == "error: --device cuda, but torch finds no CUDA device; use --device cpu or auto\n"
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"


def test_unusable_input(tmp_path: Path, write_tracks: Write, checkpoint: Path, run: Run) -> None:
    data, odd = write_tracks(), tmp_path / "odd"
    odd.write_bytes(b"odd")
    three = write_tracks("three.h5", attributes={"class_names": json.dumps(["a", "b", "c"])})
    other = write_tracks("other.h5", attributes={"class_names": json.dumps(["filled", "round"])})
    for arguments, message in (
        (["train", tmp_path / "none.h5", "--out", tmp_path / "run"], "none.h5: no such file"),
        (["train", odd, "--out", tmp_path / "run"], "odd: not a readable HDF5 file"),
        (["train", data, "--out", odd], "odd: is a file; checkpoints need a folder"),
        (["evaluate", odd, data], "odd: not a readable checkpoint"),
        (["evaluate", checkpoint, odd], "odd: not a readable HDF5 file"),
        (["evaluate", checkpoint, three], "detector.pt knows 2 classes"),
        (["evaluate", checkpoint, other], "class 2 of"),
        (["evaluate", checkpoint, data, "--keyframe-step", 5], "keyframe_step 5 needs boxes at l = 1..4"),
        (["evaluate", checkpoint, data, "--keyframe-step", 0], "keyframe_step must be at least 1, got 0"),
    ):
        status, _, error = run(*arguments, "--device", "cpu")
        assert status == 2
        assert message in one_line(error)


def test_work_that_fails_exits_with_1(tmp_path: Path, write_tracks: Write, run: Run) -> None:
    data = write_tracks()
    status, _, error = run(
        "train",
        data,
        "--out",
        tmp_path / "run",
        "--device",
        "cpu",
        *settings("learning_rate=1e30", "warmup=0", "iterations=5"),
    )
    assert status == 1
    assert "is not finite at step" in one_line(error)


def test_a_result_that_cannot_be_written_exits_with_1(
    tmp_path: Path, write_tracks: Write, checkpoint: Path, run: Run
) -> None:
    (tmp_path / "figures").mkdir()
    status, _, error = run("evaluate", checkpoint, write_tracks(), "--device", "cpu", "--out", tmp_path / "figures")
    assert status == 1
    assert "figures: cannot be written (a folder has this name)" in one_line(error)


def test_debug_shows_the_traceback(tmp_path: Path, run: Run) -> None:
    status, _, error = run("evaluate", tmp_path / "none.pt", "a.h5", "--device", "cpu", "--debug")
    assert status == 2
    assert error.startswith("Traceback (most recent call last)")
    assert error.splitlines()[-1].startswith("error: ") and "none.pt: no such file" in error.splitlines()[-1]


def test_an_interrupt_is_one_line(
    write_tracks: Write, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("location_anticipation.training.train", interrupt)
    status, _, error = run("train", write_tracks(), "--out", tmp_path / "run", "--device", "cpu")
    assert status == 130
    assert "interrupted; the same command continues" in one_line(error)


@pytest.mark.parametrize(("command", "module", "extra"), [("train", "h5py", "train"), ("detect", "tqdm", "video")])
def test_a_missing_extra_is_named(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: str, module: str, extra: str
) -> None:
    for imported in ("data", "track_videos"):  # so that they are imported again
        monkeypatch.delitem(sys.modules, f"location_anticipation.{imported}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    arguments = [] if command == "train" else ["--checkpoint", "a.pt"]
    status, _, error = run(command, "input", *arguments, "--out", tmp_path / "out")
    assert status == 2
    assert one_line(error) == f'error: this command needs {module}: pip install "location_anticipation[{extra}]"\n'


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["train"], ["train", "a.h5"], ["evaluate", "a.pt"], ["detect", "a.mp4"]]
)
def test_what_the_parser_refuses(run: Run, arguments: list[str]) -> None:
    status, _, error = run(*arguments)
    assert status == 2 and "usage: location-anticipation" in error


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["detect"]])
def test_help(run: Run, command: list[str]) -> None:
    status, printed, _ = run(*command, "--help")
    assert status == 0 and printed.startswith("usage: location-anticipation")


def test_settings_are_sorted_by_their_owner() -> None:
    detector, recipe = parse_settings(
        [
            "horizon=4",
            "learning_rate=1",
            "backbone=resnet18",
            "fpn=false",
            "anchor_sizes=[8, 16]",
            "precision=bf16-mixed",
        ],
        DetectorConfig,
        TrainConfig,
    )
    assert detector == {"horizon": 4, "backbone": "resnet18", "fpn": False, "anchor_sizes": (8, 16)}
    assert recipe == {"learning_rate": 1.0, "precision": "bf16-mixed"}
    assert isinstance(recipe["learning_rate"], float)
    with pytest.raises(UsageError, match="--set =3: expected KEY=VALUE"):
        parse_settings(["=3"], DetectorConfig)


def test_the_installed_command_is_this_function() -> None:
    (command,) = entry_points(group="console_scripts", name="location-anticipation")
    assert command.load() is main
