"""Videos annotated in CocoVID JSON, the format of mmtracking.

The file is an object of four lists; the images are separate files, or frames of video files:

    videos       ``id``, ``name``, optionally ``file_name`` of the video file
    images       ``id``, ``video_id``, ``frame_id`` (from 0), ``file_name``, ``height``, ``width``, optionally ``annotated``
    annotations  ``id``, ``image_id``, ``category_id``, ``instance_id``, ``bbox`` (x, y, w, h in pixels), optionally
                 ``iscrowd``
    categories   ``id``, ``name``

Further keys are ignored. Where the format leaves a choice:

* An image without annotations is annotated and empty, as in ILSVRC. A frame number without an image is not annotated, and
  asking for its pixels is an error. An image with ``annotated: false``, a key of this package, can be read but is not
  annotated: this marks the frames between the annotated ones of a sparse set.
* Annotations with the same ``instance_id`` and ``category_id`` in one video are one track.
* ``iscrowd`` annotations outline a region of many objects, not an object. They are left out: nothing is trained on
  them, and a detection inside one counts as any other.
* Images are turned upright by their EXIF orientation; sizes and boxes are those of the upright image.
* Where the images of a video are not there, its frames are read from its video file; ``frame_id`` k is the k-th frame that
  FFmpeg decodes (:mod:`~location_anticipation.data.video_frames`).
* A box must lie inside its image at least in part: anchors that reach no true box would all be trained as objects.
* Label k is the category with the k-th smallest id. A video without images is left out.
* A file without ``videos`` is plain COCO: every image is a video of one frame, and every annotation a track.
"""

import logging
import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers import image_size, read_image, read_json
from location_anticipation.data.cocovid_entries import SECTIONS, EntryReader
from location_anticipation.data.video_frames import VideoFrames, extract_frames, find_video, image_name
from location_anticipation.data.videos import Tracks, VideosInfo

_ADVICE = "; --images names the folder of all images, or of the video files"
_log = logging.getLogger(__name__)


def read_sections(path: str | Path) -> tuple[dict[str, Any], str]:
    """The object in a CocoVID or plain COCO file, whose lists are checked to be there, and the text of the file.

    Plain COCO, without ``videos``, is made CocoVID.

    Raises:
        UsageError: if the file is missing, not JSON, or lacks one of the lists.
    """
    text, content = read_json(path, "a CocoVID JSON file")
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a CocoVID object with lists {', '.join(SECTIONS)}, got something else")
    for section in (*SECTIONS[:1], *SECTIONS[2:], SECTIONS[1]):
        if (
            section == "videos"
            and section not in content
            and not any("video_id" in i for i in _objects(content["images"]))
        ):
            return _single_images(content), text
        if not isinstance(content.get(section), list):
            what = "is missing" if section not in content else "is no list"
            raise UsageError(f"{path}: '{section}' {what}; a CocoVID file has the lists {', '.join(SECTIONS)}")
    return content, text


def _single_images(content: dict[str, Any]) -> dict[str, Any]:
    """CocoVID content of plain COCO. Wrong entries stay, to be reported by :class:`EntryReader`."""
    names = {image.get("id"): str(image.get("file_name")) for image in _objects(content["images"])}
    changes: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "images": lambda image: {**image, "video_id": image.get("id"), "frame_id": 0},
        "annotations": lambda annotation: {**annotation, "instance_id": annotation.get("id")},
    }
    videos = [{"id": number, "name": name} for number, name in names.items() if type(number) is int]
    changed = {
        section: [change(entry) if isinstance(entry, dict) else entry for entry in content[section]]
        for section, change in changes.items()
    }
    return content | {"videos": videos} | changed


def _objects(entries: list[Any]) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)]


class CocoVideos:
    """A CocoVID file and its images or videos. Annotations are kept in memory, frames are read when asked for.

    Args:
        path: the JSON file.
        images: folder against which the ``file_name`` entries of images and videos are resolved, or the file of the only
            video; by default the folder of the JSON file.

    Raises:
        UsageError: if the file cannot be used, with the line of the entry that is wrong.
    """

    def __init__(self, path: str | Path, images: str | Path | None = None) -> None:
        self.path = Path(path)
        self.images = self.path.parent if images is None else Path(images)
        content, text = read_sections(self.path)
        entries = EntryReader(self.path, content, text)
        self.info = VideosInfo(sha256(text.encode()).hexdigest(), entries.class_names, entries.category_ids)
        self._videos = [video for video in entries.videos.values() if video.files]
        if not self._videos:
            raise UsageError(f"{self.path}: no video has an image")
        if left_out := len(entries.videos) - len(self._videos):
            _log.info("%s: %d of %d videos have no image and are left out", path, left_out, len(entries.videos))
        if self.images.is_file() and len(self._videos) > 1:
            raise UsageError(
                f"{self.images}: is one file, {self.path} has {len(self._videos)} videos; name their folder"
            )
        self._frames = VideoFrames()
        self._video_files: dict[int, Path | None] = {}
        self._extracted: dict[Path, Path] = {}

    def __len__(self) -> int:
        return len(self._videos)

    def name(self, video: int) -> str:
        """The video's ``name``."""
        return self._videos[video].name

    def image_size(self, video: int) -> tuple[int, int]:
        """(height, width) of all images of the video."""
        return self._videos[video].size

    def tracks(self, video: int) -> Tracks:
        """Annotations by frame number, from ``frame_id`` 0 to the largest there is."""
        return self._videos[video].tracks()

    def image_id(self, video: int, index: int) -> int:
        """``id`` of the image of a frame."""
        return self._videos[video].image_ids[index]

    def check_frames(self, frames: Iterable[tuple[int, int]]) -> None:
        """Check that the images of these frames, (video, index), or their videos are there, and the size of the first of each.

        Folders are listed and headers are read; no image is decoded, and of a video one frame.

        Raises:
            UsageError: with the number of missing images and the first of them, or for an image of another size.
        """
        listed: dict[str, set[str]] = {}
        missing: list[str] = []
        first: dict[int, int] = {}
        wanted = 0
        for video, index in frames:
            wanted += 1
            first.setdefault(video, index)
            folder, name = os.path.split(file := self._file(video, index))
            if folder not in listed:
                listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name not in listed[folder] and not os.path.exists(file) and self._video_file(video) is None:
                missing.append(file)
        if missing:
            raise UsageError(
                f"{self.path}: {len(missing)} of {wanted} images are missing, the first {missing[0]}{_ADVICE}"
            )
        for video, index in first.items():
            try:
                if (clip := self._video_file(video)) is not None:
                    self._check_size(video, index, str(clip), self._frames.size(clip))
                else:
                    self._check_size(video, index, file := self._file(video, index), image_size(file))
            except BrokenFile as error:
                raise UsageError(f"{error} ({self._place(video, index)})") from error

    def extract(self, frames: Iterable[tuple[int, int]], folder: Path) -> None:
        """Write the frames of video files among these frames, (video, index), as images into ``folder``."""
        wanted: dict[Path, list[int]] = {}
        for video, index in frames:
            if (clip := self._video_file(video)) is not None:
                wanted.setdefault(clip, []).append(index)
        self._extracted = extract_frames(wanted, folder)

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index`` of ``video`` as float (3, H, W) in [0, 1]."""
        file, clip = self._file(video, index), self._video_file(video)
        if clip in self._extracted:
            image = os.path.join(self._extracted[clip], image_name(index))
            file, clip = (image, None) if os.path.exists(image) else (file, clip)
        try:
            pixels = read_image(file) if clip is None else self._frames.read(clip, index)
        except BrokenFile as error:
            advice = "" if clip is not None or os.path.exists(file) else _ADVICE
            raise UsageError(f"{error} ({self._place(video, index)}){advice}") from error
        self._check_size(video, index, file if clip is None else str(clip), (pixels.shape[0], pixels.shape[1]))
        return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)

    def _place(self, video: int, index: int) -> str:
        return f"frame {index} of video {self.name(video)!r} in {self.path}"

    def _file(self, video: int, index: int) -> str:
        files = self._videos[video].files
        if index not in files:
            raise UsageError(f"{self._place(video, index)} has no image: no entry of 'images' has this frame_id")
        file = os.path.join(self.images, files[index])
        if "\\" in files[index] and not os.path.exists(file):  # written on Windows
            file = os.path.join(self.images, files[index].replace("\\", "/"))
        return file

    def _video_file(self, video: int) -> Path | None:
        """The file that the frames of a video are read from; None where its first image is there, or there is no such file."""
        if video not in self._video_files:
            entries = self._videos[video]
            images = os.path.exists(self._file(video, min(entries.files)))
            self._video_files[video] = None if images else find_video(self.images, entries.name, entries.file_name)
        return self._video_files[video]

    def _check_size(self, video: int, index: int, file: str, found: tuple[int, int]) -> None:
        height, width = self.image_size(video)
        if found != (height, width):
            turned = "; annotations must be those of the image turned upright by its EXIF orientation"
            advice = turned if found == (width, height) else ""
            said = f"{self._place(video, index)} is said to be {width}x{height}{advice}"
            raise UsageError(f"{file}: is {found[1]}x{found[0]}, {said}")
