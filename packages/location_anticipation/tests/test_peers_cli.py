"""The command trains peers and evaluates them, and says what does not go together."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from location_anticipation import DetectorConfig, save_detector
from location_anticipation.checkpoint import load_peer
from location_anticipation.cli import main
from location_anticipation.peers import PeerConfig, build_peer

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Write = Callable[..., Path]
Config = Callable[..., DetectorConfig]
SETTINGS = [
    "backbone=resnet18", "channels=32", "representation=32", "min_size=48", "max_size=80", "proposals_train=50",
    "proposals_test=20", "rois_per_image=16", "anchor_sizes=[12,16,24,32,48]", "iterations=1", "batch_size=1",
]  # fmt: skip


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def sets(*more: str) -> list[str]:
    return [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]


@pytest.mark.slow
def test_a_peer_is_trained_and_evaluated(
    tmp_path: Path, write_tracks: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_tracks(videos=2, frames=4)
    folder = tmp_path / "run"
    more = sets("flow_width=0.1", "keyframe_step=2")
    assert run("train", data, "--out", folder, "--method", "dff", "--device", "cpu", *more) == 0
    model, _ = load_peer(folder / "detector.pt")
    assert (model.peer.method, model.peer.keyframe_step, model.peer.flow_width) == ("dff", 2, 0.1)
    for extra, keyframes in (([], 4), (["--keyframe-step", 4], 2)):
        out = tmp_path / "scores.json"
        assert run("evaluate", folder / "detector.pt", data, "--device", "cpu", "--out", out, *extra) == 0
        assert json.loads(out.read_text())["keyframes"] == keyframes
    assert run("evaluate", folder / "detector.pt", data, "--device", "cpu", "--keyframe-step", "auto") == 2
    assert "needs a detector that anticipates, not dff" in capsys.readouterr().err
    assert run("evaluate", folder / "detector.pt", data, "--device", "cpu", "--method", "fgfa") == 2
    assert "a network of dff, not of fgfa" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["per_frame", "key_boxes_copied", "constant_velocity", "interpolation"])
def test_any_detector_is_evaluated_by_the_key_box_methods(
    tmp_path: Path, write_tracks: Write, tiny: Config, method: str
) -> None:
    from location_anticipation import build_detector

    save_detector(tmp_path / "detector.pt", build_detector(tiny()), ["filled", "hollow"])
    arguments = ["evaluate", tmp_path / "detector.pt", write_tracks(videos=1, frames=5), "--device", "cpu"]
    assert run(*arguments, "--method", method, "--keyframe-step", 3, "--out", tmp_path / "scores.json") == 0
    assert json.loads((tmp_path / "scores.json").read_text())["keyframes"] == (5 if method == "per_frame" else 2)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--method", "rdn"], "method must be one of"),
        (["--method", "dff", "--motion", "linear"], "--method goes without --motion"),
        (["--method", "dff", "--set", "method=fgfa"], "--method goes without"),
        (["--method", "dff", "--set", "horizon=3"], "horizon must be 0, got 3"),
        (["--set", "flow_width=0.5"], "flow_width=0.5: expected KEY=VALUE"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, write_tracks: Write, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    assert run("train", write_tracks(), "--out", tmp_path / "run", "--device", "cpu", *sets(), *extra) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_detect_says_what_it_cannot_run(tmp_path: Path, tiny: Config, capsys: pytest.CaptureFixture[str]) -> None:
    config = PeerConfig("dff", tiny(horizon=0), flow_width=0.1)
    save_detector(tmp_path / "peer.pt", build_peer(config), ["filled", "hollow"])
    (tmp_path / "video.mp4").write_bytes(b"")
    arguments = ("detect", tmp_path / "video.mp4", "--checkpoint", tmp_path / "peer.pt", "--json", tmp_path / "o.json")
    assert run(*arguments, "--device", "cpu") == 2
    assert "a checkpoint of the method 'dff', read by load_peer" in capsys.readouterr().err
