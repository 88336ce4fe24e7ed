"""Annotations of the frames of video files, as ``detect --json`` writes them: read, trained on, and continued."""

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.readers.video import open_video
from location_anticipation import DetectorConfig, TrainConfig, train
from location_anticipation.data import CocoVideos, Keyframes
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, write_cocovid
from location_anticipation.data.video_frames import extract_frames, image_name

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Run = Callable[..., tuple[int, str, str]]
HEIGHT, WIDTH = 48, 64
UNEVEN = [300, 304, 308, 450, 451, 600, 610, 900]  # hundredths of a second


def clip(path: Path, times: list[int] = UNEVEN, shift: int = 0, rotation: int = 0, codec: str = "libx264") -> Path:
    """Noise that drifts to the right."""
    noise = np.random.default_rng(shift).integers(0, 255, (HEIGHT, WIDTH + 2 * len(times), 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(noise[:, 2 * (len(times) - number) :][:, :WIDTH].copy(), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(path: Path) -> list[np.ndarray]:
    """What a player shows of a video."""
    with open_video(path) as video:
        return [video.rgb(frame) for frame in video]


def annotate(path: Path, names: list[str], frames: int = 4, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A box in every frame of videos of these names."""
    builder = CocoVidBuilder([{"id": 1, "name": "filled"}, {"id": 2, "name": "hollow"}], {})
    for name in names:
        video = builder.add_video(name)
        for t in range(frames):
            image = builder.add_image(video, t, f"{name}/{t:06d}.jpg", size)
            builder.add_box(video, image, 1, "x", (1.0 + t, 2, 9.0 + t, 10))
    write_cocovid(path, builder.content)
    return path


def pixels(videos: CocoVideos, video: int, index: int) -> np.ndarray:
    return np.rint(255 * videos.frame(video, index).permute(1, 2, 0).numpy()).astype(np.uint8)


@pytest.mark.parametrize("rotation", [0, -90])
def test_what_detect_found_trains_on_the_frames_that_it_saw(
    tmp_path: Path, checkpoint: Path, run: Run, small_options: list[str], rotation: int
) -> None:
    """Of a video of uneven times, also turned on its side, as a telephone films."""
    source, found, out = (
        clip(tmp_path / "films" / "walk.mp4", rotation=rotation),
        tmp_path / "found.json",
        tmp_path / "run",
    )
    detect = (
        "detect",
        source,
        "--checkpoint",
        checkpoint,
        "--json",
        found,
        "--score-threshold",
        0.1,
        "--device",
        "cpu",
    )
    assert run(*detect)[0] == 0
    document = json.loads(found.read_text())
    assert document["videos"][0]["file_name"] == "walk.mp4"
    size = (WIDTH, HEIGHT) if rotation else (HEIGHT, WIDTH)
    assert (document["images"][0]["height"], document["images"][0]["width"]) == size
    status, _, error = run(
        "train", found, "--images", source, "--out", out, *small_options, "--validation", found, "--validation-images",
        source.parent, "--validate-every", 1, "--device", "cpu",
    )  # fmt: skip
    assert status == 0, error
    (folder,) = (out / "frames").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [image_name(t) for t in range(len(UNEVEN))]
    videos, expected = CocoVideos(found, source), shown(source)
    assert expected[0].shape[:2] == size
    for t in (5, 0, 7, 3):
        assert np.array_equal(pixels(videos, 0, t), expected[t])
    videos.extract([(0, t) for t in range(8)], out / "frames")
    for t in (6, 1):
        difference = pixels(videos, 0, t).astype(int) - expected[t]
        assert 0 < np.abs(difference).mean() < 3  # JPEG
    assert run("evaluate", out / "detector.safetensors", found, "--images", source.parent, "--device", "cpu")[0] == 0


def test_several_sources(tmp_path: Path, checkpoint: Path, run: Run, small_options: list[str]) -> None:
    """Each with a file of its own, and videos of one folder in one file."""
    films = tmp_path / "films"
    names = ["a.mp4", "b.MKV", "c.avi"]
    for number, name in enumerate(names):
        clip(films / name, list(range(0, 40, 4)), number, codec="mjpeg" if name.endswith("avi") else "libx264")
    where = ("--json", tmp_path / "{name}.json", "--score-threshold", 0.1, "--device", "cpu")
    assert run("detect", *(films / name for name in names), "--checkpoint", checkpoint, *where)[0] == 0
    files, out = [tmp_path / f"{name}.json" for name in "abc"], tmp_path / "run"
    for folders in ([films], [films / name for name in names]):
        words = [word for folder in folders for word in ("--images", folder)]
        status, _, error = run("train", *files, *words, "--out", out, *small_options, "--device", "cpu")
        assert status == 0, error
    assert len(list((out / "frames").iterdir())) == 3
    together = CocoVideos(annotate(tmp_path / "all.json", ["a", "b", "c"]), films)
    together.check_frames([(video, 3) for video in range(3)])
    for video, name in enumerate(names):
        assert np.array_equal(pixels(together, video, 3), shown(films / name)[3])
    with pytest.raises(UsageError, match=r"a\.mp4: is one file, .*all\.json has 3 videos; name their folder"):
        CocoVideos(tmp_path / "all.json", films / "a.mp4")


def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, tiny: Callable[..., DetectorConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the frames that were written are gone."""
    clip(tmp_path / "walk.mp4")
    config = TrainConfig(iterations=3, batch_size=2, learning_rate=0.02, warmup=1, checkpoint_every=1, workers=0)

    def data() -> Keyframes:
        return Keyframes(CocoVideos(annotate(tmp_path / "walk.json", ["walk"])), horizon=3)

    train(data(), tiny(), config, tmp_path / "whole")
    read, done = Keyframes.read, count()

    def counting(self: Keyframes, *arguments: Any) -> Any:
        if next(done) == 3:
            raise KeyboardInterrupt
        return read(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Keyframes, "read", counting)
        train(data(), tiny(), config, tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "frames")
    train(data(), tiny(), config, tmp_path / "parts")
    first, second = ((tmp_path / name / "detector.safetensors").read_bytes() for name in ("whole", "parts"))
    assert first == second


def test_frames_are_written_once(tmp_path: Path) -> None:
    path, folder = clip(tmp_path / "walk.mp4"), tmp_path / "frames"
    (place,) = extract_frames({path: [5, 1, 5]}, folder).values()
    assert sorted(file.name for file in place.iterdir()) == [image_name(1), image_name(5)]
    before = (place / image_name(1)).stat().st_mtime_ns
    assert extract_frames({path: [0, 1]}, folder) == {path: place}
    assert (place / image_name(1)).stat().st_mtime_ns == before and (place / image_name(0)).exists()
    assert not [file for file in place.iterdir() if file.name.startswith(".")]
    clip(path, shift=1)
    (other,) = extract_frames({path: [1]}, folder).values()
    assert other != place


def test_a_full_disk_is_found_at_the_first_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "walk.mp4")
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(
        WorkError, match=r"frames: the frames of the videos need about 0\.0 GB, 0\.0 GB are free; make room"
    ):
        extract_frames({path: range(8)}, tmp_path / "frames")
    assert len(list((tmp_path / "frames").rglob("*.jpg"))) == 1


def test_a_damaged_video_has_the_numbers_of_detect(tmp_path: Path, checkpoint: Path, run: Run) -> None:
    path = clip(tmp_path / "walk.avi", list(range(0, 80, 4)), codec="mjpeg")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = places[4]
    content[position + 8 : position + 8 + size] = b"\xff" * size
    path.write_bytes(content)
    found = tmp_path / "walk.json"
    status, _, error = run("detect", path, "--checkpoint", checkpoint, "--json", found, "--device", "cpu")
    frames = shown(path)
    assert status == 1 and "warning" in error and len(frames) == 19
    videos = CocoVideos(found)
    every = [(0, t) for t in range(19)]
    videos.check_frames(every)
    videos.extract(every[3:6], tmp_path / "frames")
    assert np.array_equal(pixels(videos, 0, 18), frames[18])
    assert np.abs(pixels(videos, 0, 5).astype(int) - frames[5]).mean() < 3


def test_what_does_not_fit_is_one_clear_line(tmp_path: Path) -> None:
    films = tmp_path / "films"
    path = clip(films / "walk.mp4")
    for entries, place, message in (
        ({"frames": 9}, films, r"walk\.mp4: frame 8 is asked for, the file holds 8"),
        ({"size": (WIDTH, HEIGHT)}, path, r"walk\.mp4: is 64x48, frame 0 of video 'walk' in .* is said to be 48x64"),
        (
            {},
            tmp_path,
            r"4 of 4 images are missing, the first .*walk/000000\.jpg; --images names .* or of the video files",
        ),
    ):
        videos = CocoVideos(annotate(tmp_path / "set.json", ["walk"], **entries), place)
        every = [(0, t) for t in range(entries.get("frames", 4))]
        with pytest.raises(UsageError, match=message) as caught:
            videos.check_frames(every)
            videos.extract(every, tmp_path / "frames")
        assert "\n" not in str(caught.value)
    (films / "walk.mkv").write_bytes(b"no video")
    with pytest.raises(UsageError, match=r"walk\.mkv and .*walk\.mp4: either may be video 'walk'"):
        CocoVideos(annotate(tmp_path / "set.json", ["walk"]), films).check_frames([(0, 0)])
    path.unlink()
    with pytest.raises(UsageError, match=r"walk\.mkv: not a readable video .*frame 0 of video 'walk'"):
        CocoVideos(annotate(tmp_path / "set.json", ["walk"]), films).check_frames([(0, 0)])
