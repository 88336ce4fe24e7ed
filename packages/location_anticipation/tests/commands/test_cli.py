"""The command: exit statuses, errors of one line, and its tasks from end to end."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from efficiency_core.command import CONTINUES
from location_anticipation import DetectorConfig, TrainConfig, load_detector, load_peer
from location_anticipation.commands import cli
from location_anticipation.commands.train import Options
from location_anticipation.peers import PeerConfig

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


def test_train_then_evaluate(
    tmp_path: Path, write_tracks: Write, run: Run, small_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data, out = write_tracks(), tmp_path / "run"
    caplog.set_level(logging.INFO)
    settings = tmp_path / "settings.yaml"
    settings.write_text("supervision: {motion: linear}\ntraining: {iterations: 7}\n")
    arguments = ("train", data, "--out", out, "--settings", settings, "--validation", data, "--device", "cpu")
    status, printed, error = run(*arguments, *small_options)
    assert status == 0, error
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == [
        "loss_classifier", "loss_box_reg", "loss_trajectory", "loss_objectness", "loss_rpn_box_reg",
        str(out / "detector.safetensors"),
    ]  # fmt: skip
    assert all(np.isfinite(float(line.split()[1])) for line in lines[:-1])
    model, names = load_detector(out / "detector.safetensors")
    assert names == ["filled", "hollow"]
    assert (model.config.horizon, model.config.anchor_sizes) == (3, (12, 16, 24, 32, 48))
    assert {path.name for path in out.iterdir()} >= {"best.safetensors", "metrics.csv", "tensorboard", "training.pt"}

    figures = tmp_path / "figures.json"
    # By default every frame is a keyframe: there is nothing to anticipate.
    status, printed, _ = run("evaluate", out / "detector.safetensors", data, "--device", "cpu", "--out", figures)
    assert status == 0 and "trajectory_iou     nan" in printed and "keyframes          24" in printed.splitlines()
    assert json.loads(figures.read_text())["trajectory_iou"] is None


def test_a_peer_is_trained_and_evaluated(
    tmp_path: Path, write_tracks: Write, run: Run, small_options: list[str]
) -> None:
    data, folder = write_tracks(videos=2, frames=4), tmp_path / "run"
    horizon = small_options.index("--horizon")
    plain = small_options[:horizon] + small_options[horizon + 2 :]
    more = ("--method", "dff", "--flow-width", 0.1, "--peer.keyframe-step", 2, "--iterations", 1, "--device", "cpu")
    assert run("train", data, "--out", folder, *plain, *more)[0] == 0
    network = folder / "detector.safetensors"
    status, _, error = run("detect", "a.mp4", "--checkpoint", network, "--json", tmp_path / "o.json")
    assert status == 2 and "a network of the method 'dff', read by load_peer" in one_line(error)
    model, _ = load_peer(network)
    assert (model.peer.method, model.peer.keyframe_step, model.peer.flow_width) == ("dff", 2, 0.1)
    out = tmp_path / "scores.json"
    for extra, keyframes in (((), 4), (("--keyframe-step", 4), 2)):
        assert run("evaluate", network, data, "--device", "cpu", "--out", out, *extra)[0] == 0
        assert json.loads(out.read_text())["keyframes"] == keyframes
    for extra, message in (
        (("--keyframe-step", "auto"), "needs a detector that anticipates, not dff"),
        (("--method", "fgfa"), "a network of dff, not of fgfa"),
    ):
        status, _, error = run("evaluate", network, data, "--device", "cpu", *extra)
        assert status == 2 and message in one_line(error)


def test_wrong_usage_and_unusable_input(tmp_path: Path, write_tracks: Write, checkpoint: Path, run: Run) -> None:
    data, odd, new = write_tracks(), tmp_path / "odd", tmp_path / "run"
    odd.write_bytes(b"odd")
    three = write_tracks("three.h5", attributes={"class_names": json.dumps(["a", "b", "c"])})
    other = write_tracks("other.h5", attributes={"class_names": json.dumps(["filled", "round"])})
    empty = write_tracks("empty.h5", arrays={"present": np.zeros((4, 6, 1), bool)})
    train, evaluate = ("train", data, "--out", new, "--backbone", "resnet18"), ("evaluate", checkpoint)
    for arguments, message in (
        ((*train, "--horizon", -1), "horizon T must be 0 (plain detector) or more, got -1"),
        ((*train, "--learning-rate", 0), "learning_rate must be positive, got 0"),
        ((*train, "--num-classes", 3), "has 2 classes, the detector is asked for 3"),
        ((*train, "--backbone-weights", "COCO"), "weights of resnet18 must be one of ('IMAGENET1K_V1',), got 'COCO'"),
        (
            (*train, "--motion", "circular"),
            "--supervision.motion: expected one of annotated, simulated, linear, random",
        ),
        ((*train, "--keyframe-step", 2), "--keyframe-step may be --peer.keyframe-step or --supervision.keyframe-step"),
        (
            (*train, "--method", "dff", "--motion", "linear"),
            "--method goes without --horizon and the options of superv",
        ),
        ((*train, "--method", "dff", "--horizon", 3), "--method goes without --horizon"),
        (("train", "--out", new), "expected one file of annotated videos or more"),
        (("train", tmp_path / "none.h5", "--out", new), "none.h5: no such file"),
        (("train", data, "--out", odd, "--backbone", "resnet18"), "odd: is a file; name a folder"),
        (("evaluate", odd, data), "odd: not a readable network file"),
        ((*evaluate, odd), "odd: not a readable HDF5 file"),
        ((*evaluate, three), "detector.safetensors knows 2 classes"),
        ((*evaluate, other), "class 2 of"),
        ((*evaluate, empty), "empty.h5: no annotated frame shows an object"),
        ((*evaluate, data, "--images", tmp_path), "train.h5: a track-video file holds its frames"),
        ((*evaluate, tmp_path / "none.json"), "none.json: no such file; expected a CocoVID JSON file"),
        ((*evaluate, data, "--metric", "vanilla"), "vanilla"),
        ((*evaluate, data, "--keyframe-step", 5), "keyframe_step 5 needs boxes at l = 1..4"),
        ((*evaluate, data, "--keyframe-step", 0), "keyframe_step must be at least 1, got 0"),
    ):
        status, printed, error = run(*arguments, "--device", "cpu")
        assert (status, printed) == (2, ""), arguments
        assert message in one_line(error)
    assert not new.exists()


def test_work_that_fails_exits_with_1(tmp_path: Path, write_tracks: Write, run: Run, small_options: list[str]) -> None:
    more = ("--learning-rate", 1e30, "--warmup", 0, "--iterations", 5, "--device", "cpu")
    status, _, error = run("train", write_tracks(), "--out", tmp_path / "run", *small_options, *more)
    assert status == 1 and "is not finite at step" in one_line(error)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["convert", "train", "evaluate", "detect"])
def test_help_shows_every_setting_without_torch(command: str) -> None:
    code = (
        "import sys; from location_anticipation.commands.cli import main\n"
        "try: main(sys.argv[1:])\nfinally: assert not {'torch', 'av', 'h5py'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = ("--detector.horizon", "--training.devices", "--supervision.motion") if command == "train" else ("--out",)
    assert all(option in done.stdout for option in wanted)


def test_defaults_are_the_thesis_s_recipe_for_imagenet_vid() -> None:
    options = Options(data=(Path("a"),), out=Path("b"))
    assert (options.detector, options.training, options.peer) == (DetectorConfig(), TrainConfig(), PeerConfig())
    recipe = options.training
    assert (recipe.iterations, recipe.learning_rate, recipe.schedule) == (120_000, 1e-3, "step")
    assert recipe.decay_from == pytest.approx(80 / 120)


def test_the_installed_command_is_this_program() -> None:
    (command,) = entry_points(group="console_scripts", name="location-anticipation")
    assert command.value.partition(":")[0] == cli.__name__ and callable(cli.command)
    assert cli.program.commands["train"].interrupted == CONTINUES
