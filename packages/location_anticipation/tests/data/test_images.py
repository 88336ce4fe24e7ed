"""Images of a CocoVID file: upright by their EXIF orientation, and looked for before any work."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficiency_core.errors import UsageError
from location_anticipation import load_category_ids
from location_anticipation.data import CocoVideos, Concatenated, Keyframes, TrackVideos
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, write_cocovid

Run = Callable[..., tuple[int, str, str]]
HEIGHT, WIDTH = 20, 30


def write(folder: Path, files: list[str], size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A video of these files, of (height, width) ``size``, with a box in each."""
    builder = CocoVidBuilder([{"id": 1, "name": "filled"}, {"id": 2, "name": "hollow"}], {})
    video = builder.add_video("only")
    for frame, file in enumerate(files):
        builder.add_box(video, builder.add_image(video, frame, file, size), 1, "x", (1, 2, 9, 10))
    write_cocovid(folder / "set.json", builder.content)
    return folder / "set.json"


def upright() -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, : WIDTH // 3], pixels[: HEIGHT // 4, :, 1] = 200, 255
    return pixels


STORED = {
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, 1), 7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}  # fmt: skip
"""How a camera stores the upright picture, by EXIF orientation."""


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "jpg"])
@pytest.mark.parametrize("orientation", STORED)
def test_training_images_are_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **options)
    data = Keyframes(CocoVideos(write(tmp_path, [f"a.{suffix}"])), horizon=0)
    data.videos.check_frames(data.index)
    image, target = data[0]
    assert target["boxes"].tolist() == [[1, 2, 9, 10]]
    error = 6 if suffix == "jpg" else 0
    np.testing.assert_allclose(255 * image.permute(1, 2, 0).numpy(), upright(), atol=error + 1e-4)
    if orientation >= 5:  # the annotation is of the image as it is stored
        data = Keyframes(CocoVideos(write(tmp_path, [f"a.{suffix}"], (WIDTH, HEIGHT))), horizon=0)
        message = "is 30x20, frame 0 of video 'only' in .* is said to be 20x30; .* turned upright by its EXIF"
        for work in (lambda: data.videos.check_frames(data.index), lambda: data[0]):
            with pytest.raises(UsageError, match=message):
                work()


def test_paths_may_have_been_written_on_windows(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.fromarray(upright()).save(tmp_path / "train" / "a" / "0.png")
    Image.fromarray(upright()[:, ::-1]).save(tmp_path / "odd\\1.png")
    videos = CocoVideos(write(tmp_path, ["train\\a\\0.png", "odd\\1.png"]))
    videos.check_frames([(0, 0), (0, 1)])
    for frame, pixels in ((0, upright()), (1, upright()[:, ::-1])):
        np.testing.assert_allclose(255 * videos.frame(0, frame).permute(1, 2, 0).numpy(), pixels, atol=1e-4)


def test_missing_images_are_found_together(tmp_path: Path, write_tracks: Callable[..., Path]) -> None:
    files = ["a/0.png", "a/1.png", "b/0.png", "c/0.png"]
    videos = CocoVideos(write(tmp_path, files))
    every = [(0, frame) for frame in range(4)]
    with pytest.raises(UsageError, match=r"set\.json: 4 of 4 images are missing, the first .*a/0\.png; --images names"):
        videos.check_frames(every)
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.fromarray(upright()).save(tmp_path / file)
    videos.check_frames(every)
    (tmp_path / "b/0.png").unlink()
    videos.check_frames([(0, 0), (0, 3)])
    both = Concatenated(TrackVideos(write_tracks(videos=3)), videos)
    for work in (lambda: videos.check_frames(every), lambda: both.check_frames([(0, 0), *((3, t) for t in range(4))])):
        with pytest.raises(UsageError, match=r"1 of 4 images are missing, the first .*b/0\.png"):
            work()
    with pytest.raises(UsageError, match=r"frame 7 of video 'only' in .* has no image"):
        videos.check_frames([(0, 7)])
    (tmp_path / "a/0.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"a/0\.png: is no image .* \(frame 0 of video 'only'"):
        videos.check_frames([(0, 0)])


@pytest.mark.usefixtures("one_thread", "tidy")
def test_commands_look_for_images_first(
    tmp_path: Path, run: Run, small_options: list[str], checkpoint: Path, write_tracks: Callable[..., Path]
) -> None:
    data = write(tmp_path, [f"{frame}.png" for frame in range(6)])
    for frame in range(5):
        Image.fromarray(upright()).save(tmp_path / f"{frame}.png")
    start, end = ("train", data, "--out", tmp_path / "run"), small_options[2:]  # without the horizon
    train = (*start, *small_options)
    validated = ("train", write_tracks(), *start[2:], *end, "--horizon", 1, "--validation", data)
    for command in (
        train, validated, (*start, *end, "--method", "dff"), ("evaluate", checkpoint, data),
        ("evaluate", checkpoint, data, "--keyframe-step", "auto"),
    ):  # fmt: skip
        status, printed, error = run(*command, "--device", "cpu")
        assert (status, printed) == (2, ""), error
        assert "1 of 6 images are missing, the first" in error.splitlines()[-1], error
    # Only the images of keyframes are read. The network knows the ids of the categories.
    content = json.loads(data.read_text())
    for number, entry in zip((18, 90), content["categories"], strict=True):
        entry["id"] = number
    for entry in content["annotations"]:
        entry["category_id"] = 18
    data.write_text(json.dumps(content))
    status, _, error = run(*train, "--supervision.keyframe-step", 3, "--device", "cpu")
    assert status == 0, error
    assert load_category_ids(tmp_path / "run" / "detector.safetensors") == [18, 90]
    content["images"] = content["images"][:5]
    content["annotations"] = content["annotations"][:5]
    data.write_text(json.dumps(content))
    assert run("evaluate", checkpoint, data, "--device", "cpu")[0] == 0
