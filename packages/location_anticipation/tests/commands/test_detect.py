"""``location-anticipation detect``: from end to end, its progress, and how it ends."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from efficiency_core.readers.video import open_video
from location_anticipation import load_detector, save_detector
from location_anticipation.data import frame_sources
from location_anticipation.inference.stream import FrameDetections, VideoDetector

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def detect(run: Run, checkpoint: Path) -> Run:
    """Run the command on the checkpoint; returns exit status, standard output and standard error."""
    return lambda *arguments: run("detect", *arguments, "--checkpoint", checkpoint, "--device", "cpu")


def images(count: int) -> list[np.ndarray]:
    """Noise that drifts to the right, 64 by 48."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64 + 2 * count, 3), dtype=np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * (count - t) :][:, :64]) for t in range(count)]


def write_clip(path: Path, count: int = 8, times: Sequence[int] | None = None, codec: str = "libx264") -> Path:
    """``times`` in hundredths of a second; by default 25 frames per second."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if codec == "libx264":
            stream.codec_context.time_base = Fraction(1, 100)
        for image, time in zip(images(count), times or range(0, 4 * count, 4), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


def test_from_end_to_end(tmp_path: Path, clip: Path, detect: Run) -> None:
    out = tmp_path / "out"
    status, printed, _ = detect(
        clip, "--json", out / "a.json", "--csv", out / "a.csv", "--out", out / "a.mp4", "--score-threshold", 0.1
    )
    assert status == 0
    assert printed.startswith("8 frames, 3 keyframes, ")
    assert " frames/s on cpu (detecting " in printed
    document = json.loads((out / "a.json").read_text())
    assert document["info"] == {"keyframe_step": 3, "score_threshold": 0.1, "damaged": None}  # the horizon
    assert document["categories"] == [{"id": 1, "name": "filled"}, {"id": 2, "name": "hollow"}]
    assert [image["keyframe"] for image in document["images"]] == [t % 3 == 0 for t in range(8)]
    boxes = document["annotations"]
    assert len(boxes) > 8 and all(box["score"] >= 0.1 for box in boxes)
    assert len((out / "a.csv").read_text().splitlines()) == len(boxes) + 1
    with av.open(str(out / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8


@pytest.mark.parametrize(
    ("arguments", "keyframes"),
    [
        (["--keyframe-step", 1], range(8)),
        (["--keyframe-step", 4], [0, 4]),
        (["--keyframe-step", "auto", "--tolerance", 1e9], [0, 4]),
        (["--keyframe-step", "auto", "--tolerance", 0], range(8)),
        (["--frames", 5], [0, 3]),
        (["--precision", "bf16", "--memory-format", "contiguous"], [0, 3, 6]),
    ],
)
def test_options(tmp_path: Path, clip: Path, detect: Run, arguments: list[object], keyframes: list[int]) -> None:
    status, printed, _ = detect(clip, "--json", tmp_path / "a.json", *arguments)
    assert status == 0 and f"{len(keyframes)} keyframes" in printed
    document = json.loads((tmp_path / "a.json").read_text())
    assert [image["frame_id"] for image in document["images"] if image["keyframe"]] == list(keyframes)


def test_folder_of_images(tmp_path: Path, detect: Run) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, image in enumerate(images(12)):
        Image.fromarray(image).save(folder / f"frame{t}.png")
    status, printed, _ = detect(folder, "--out", tmp_path / "a.mp4", "--fps", "10")
    assert status == 0 and printed.startswith("12 frames, 4 keyframes")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == 10


def test_truncated_video(tmp_path: Path, detect: Run) -> None:
    cut = write_clip(tmp_path / "cut.mp4", 40)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    status, printed, error = detect(cut, "--json", tmp_path / "a.json")
    assert status == 1
    assert f"warning: {cut}: " in error and "the outputs hold every frame that could be decoded" in error
    frames = int(printed.split()[0])
    assert 10 < frames < 40
    document = json.loads((tmp_path / "a.json").read_text())
    assert len(document["images"]) == frames and document["info"]["damaged"] in error


def test_a_frame_that_ffmpeg_repaired_is_a_note(tmp_path: Path, detect: Run) -> None:
    """No frame is missing: the exit status is 0."""
    path = write_clip(tmp_path / "bit.ts", 24, codec="mpeg2video")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    broken: str | None = "not yet"
    while broken is not None:
        damaged = bytearray(content)
        damaged[int(rng.integers(len(content) // 4, len(content)))] ^= 1
        path.write_bytes(damaged)
        with open_video(path) as video:
            assert sum(1 for _ in video) == 24
            broken = video.broken if video.damage else "no damage"
    status, printed, error = detect(path, "--json", tmp_path / "a.json")
    assert status == 0 and printed.startswith("24 frames")
    assert "is corrupt; the outputs hold every frame, and none is missing" in error and "warning" not in error
    document = json.loads((tmp_path / "a.json").read_text())
    assert "is corrupt" in document["info"]["damaged"] and len(document["images"]) == 24


def test_several_sources(tmp_path: Path, clip: Path, detect: Run, caplog: pytest.LogCaptureFixture) -> None:
    """One that cannot be read leaves the others alone."""
    other = write_clip(tmp_path / "other.mp4", 5)
    (tmp_path / "text.mp4").write_text("no video")
    out = ("--json", tmp_path / "{name}.json", "--csv", tmp_path / "{name}.csv")
    status, printed, _ = detect(clip, tmp_path / "text.mp4", other, *out)
    assert status == 1 and "text.mp4: not a readable video" in caplog.text
    assert [line.split(" frames")[0] for line in printed.splitlines()] == [f"{clip}: 8", f"{other}: 5"]
    assert {path.name for path in tmp_path.iterdir()} >= {
        f"{clip.stem}.json",
        "other.json",
        f"{clip.stem}.csv",
        "other.csv",
    }
    status, _, error = detect(clip, other, "--json", tmp_path / "a.json")
    assert status == 2 and f"{clip} and {other} would both go to it; put {{name}} into" in error


def test_outputs_have_the_times_of_the_frames(tmp_path: Path, detect: Run) -> None:
    """Of a video of uneven times that starts at 3 s; ``--fps`` goes before them."""
    times = [300, 304, 308, 450, 451, 600]
    source = write_clip(tmp_path / "uneven.mp4", len(times), times)
    out = {kind: tmp_path / f"a.{kind}" for kind in ("json", "csv", "mp4")}
    for words, shown in (((), [t / 100 for t in times]), (("--fps", "10"), [k / 10 for k in range(6)])):
        assert detect(source, "--json", out["json"], "--csv", out["csv"], "--out", out["mp4"], *words)[0] == 0
        assert [image["seconds"] for image in json.loads(out["json"].read_text())["images"]] == shown
        rows = [line.split(",") for line in out["csv"].read_text().splitlines()[1:]]
        assert all(float(row[1]) == shown[int(row[0])] for row in rows)
        with av.open(str(out["mp4"])) as container:
            assert [round(float(frame.time), 3) for frame in container.decode(video=0)] == shown


def at_frame(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Do something when so many frames have been detected."""
    call = VideoDetector.__call__

    def acting(self: VideoDetector, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        for found in call(self, frames):
            yield found
            if found.index + 1 == number:
                action()

    monkeypatch.setattr(VideoDetector, "__call__", acting)


def test_interrupt_leaves_nothing(tmp_path: Path, clip: Path, detect: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    at_frame(monkeypatch, 5, lambda: signal.default_int_handler(signal.SIGINT, None))
    out = tmp_path / "out"
    status, _, error = detect(clip, "--json", out / "a.json", "--csv", out / "a.csv", "--out", out / "a.mp4")
    assert status == 130
    assert error == "error: interrupted; nothing was written\n"
    assert not out.exists() or not list(out.iterdir())


def test_interrupt_ends_a_camera_and_keeps_what_was_seen(
    tmp_path: Path, detect: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "endless.mp4", 400)
    monkeypatch.setattr(frame_sources, "camera_address", lambda index: (str(clip), "mp4"))
    at_frame(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    status, printed, _ = detect("0", "--json", tmp_path / "a.json", "--out", tmp_path / "a.mp4")
    assert status == 0 and printed.startswith("6 frames, 2 keyframes")
    assert len(json.loads((tmp_path / "a.json").read_text())["images"]) == 6
    assert signal.getsignal(signal.SIGINT) == before


def test_progress_off_a_terminal_is_a_line_in_the_log_every_ten_seconds(
    tmp_path: Path, clip: Path, detect: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = count()
    monkeypatch.setattr("time.perf_counter", lambda: next(seconds))  # a second passes with every look at the clock
    with caplog.at_level(logging.INFO):
        detect(clip, "--csv", tmp_path / "a.csv")
    lines = [record.getMessage() for record in caplog.records if record.getMessage().endswith(" frames/s")]
    assert 1 < len(lines) < 8 and all(" of 8 frames, " in line for line in lines)


def test_progress_on_a_terminal_is_a_bar(
    tmp_path: Path, clip: Path, detect: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, _, error = detect(clip, "--csv", tmp_path / "a.csv")
    assert "/8" in error and "frame" in error


def test_ids_are_those_of_the_annotations(tmp_path: Path, clip: Path, run: Run, checkpoint: Path) -> None:
    model, names = load_detector(checkpoint)
    save_detector(tmp_path / "ids.safetensors", model, names, [18, 90])
    arguments = ("detect", clip, "--checkpoint", tmp_path / "ids.safetensors", "--json", tmp_path / "a.json")
    status, printed, _ = run(*arguments, "--score-threshold", 0.1, "--device", "cpu")
    document = json.loads((tmp_path / "a.json").read_text())
    assert status == 0 and f" {len(document['annotations'])} boxes, " in printed
    assert [category["id"] for category in document["categories"]] == [18, 90]
    assert {box["category_id"] for box in document["annotations"]} <= {18, 90} and document["annotations"]


def test_failed_compilation_is_one_line(
    tmp_path: Path, clip: Path, detect: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(*arguments: object) -> None:
        raise BackendCompilerFailed("inductor", RuntimeError("no C++ compiler\nmore"), None)

    monkeypatch.setattr("location_anticipation.inference.runtime.Inference.prepare", lambda self, model: model)
    monkeypatch.setattr(VideoDetector, "__call__", broken)
    status, _, error = detect(clip, "--csv", tmp_path / "a.csv", "--compile")
    assert status == 1
    assert error.startswith("error: torch.compile failed (") and error.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


def test_wrong_usage(tmp_path: Path, clip: Path, detect: Run) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = ["--json", tmp_path / "boxes.json"]
    for arguments, message in (
        ([clip], "nothing to write: give --out OUT.mp4, --json OUT.json, --csv OUT.csv, or several"),
        ([empty, *out], "empty: no images in this folder"),
        (["97", *out], "camera 97: cannot be opened"),
        ([tmp_path / "none.mp4", *out], "none.mp4: no such file"),
        (["ftp://host/a.mp4", *out], "ftp://host/a.mp4: addresses begin with http://"),
        ([clip, *out, "--out", tmp_path / "a.mp4", "--font", clip], "clip.mp4: is no font"),
        ([clip, "--keyframe-step", 5, *out], "use a keyframe_step of at most 4"),
        ([clip, "--keyframe-step", 0, *out], "keyframe_step must be at least 1, got 0"),
        ([clip, "--keyframe-step", "auto", "--tolerance", -1, *out], "--tolerance must be 0 or more, got -1"),
        ([clip, "--tolerance", 0.1, *out], "--tolerance is for --keyframe-step auto"),
        ([clip, "--frames", 0, *out], "at least 1 frame is needed, got 0"),
        ([clip, "--json", clip], "clip.mp4: is the input SOURCE, which --json would overwrite"),
        ([clip, *out, "--keyframe-step", "often"], "expected a whole number or one of auto"),
        ([clip, *out, "--fps", "fast"], "expected a number above 0 such as 25 or 30000/1001, got 'fast'"),
        ([clip, *out, "--fps", "0"], "expected a number above 0"),
    ):
        status, _, error = detect(*arguments)
        assert status == 2, arguments
        assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "boxes.json").exists()
