"""CVAT's exports "CVAT for video 1.1" and "CVAT for images 1.1" to CocoVID.

    ROOT/annotations.xml
    ROOT/images/frame_000000.PNG      frames as CVAT exports them, or as ffmpeg extracts them from the video

In a video every frame of the task is annotated, those without a box as empty. A track is a ``<track>``; where its boxes are
further apart than the frames of the task, the boxes in between are interpolated, as CVAT does. In an export for images every
image is a video of one frame. A rotated box becomes the upright box around it. Other shapes are left out; the log counts them.
"""

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from efficiency_core.errors import UsageError
from efficiency_core.readers import whole
from location_anticipation.data.converters.cocovid_writer import Box, CocoVidBuilder, frame_size
from location_anticipation.data.converters.labelling_tools import KeyBox, VideoFrames, enclosing, track_boxes
from location_anticipation.data.converters.xml_file import XmlFile


def convert_cvat(root: Path, images: Path) -> dict[str, Any]:
    """CocoVID content of an export, the XML file or its folder; ``file_name`` is relative to ``images``."""
    file = XmlFile(root / "annotations.xml" if root.is_dir() else root, "annotations", "an export of CVAT")
    pictures, tracks = file.root.findall("image"), file.root.findall("track")
    labels = [label.text for label in file.root.iterfind("meta/*/labels/label/name") if label.text]
    boxed = [track for track in tracks if track.find("box") is not None]
    labels += [file.text(thing, "label") for thing in (*boxed, *file.root.iterfind("image/box"))]
    ids = {name: number for number, name in enumerate(dict.fromkeys(labels), start=1)}
    builder = CocoVidBuilder([{"id": number, "name": name} for name, number in ids.items()], {"source": "CVAT"})
    others: Counter[str] = Counter()
    if pictures:
        for picture in pictures:
            _add_image(builder, file, picture, images, ids)
            others.update(shape.tag for shape in picture if shape.tag not in ("box", "tag"))
    else:
        _add_video(builder, file, tracks, images, ids)
        others.update(track[0].tag for track in tracks if len(track) and track not in boxed)
    return builder.finish({f"{tag} shapes, left out": count for tag, count in others.items()})


def _add_image(builder: CocoVidBuilder, file: XmlFile, picture: Element, images: Path, ids: dict[str, int]) -> None:
    name = file.text(picture, "name")
    height, width = file.number(picture, "height"), file.number(picture, "width")
    size = frame_size(images / name, f"an image in {file.path}; --images names the folder of all images")
    if (height, width) != size:
        raise file.at(picture, f"{name} is said to be {width}x{height}, the image is {size[1]}x{size[0]}")
    video = builder.add_video(name)
    image = builder.add_image(video, 0, name, size)
    for number, box in enumerate(picture.findall("box")):
        builder.add_box(video, image, ids[file.text(box, "label")], number, _box(file, box))


def _add_video(
    builder: CocoVidBuilder, file: XmlFile, tracks: list[Element], images: Path, ids: dict[str, int]
) -> None:
    meta = file.root.find("meta/task")
    meta = file.root.find("meta/job") if meta is None else meta
    if meta is None or meta.find("stop_frame") is None:
        raise UsageError(
            f"{file.path}: neither holds an image nor says the frames of a task; expected an export of one task of CVAT, "
            "for video or for images"
        )
    name = meta.findtext("source") or meta.findtext("name") or "video"
    first, last = (
        whole(file.text(file.child(meta, tag)), str(file.path), tag) for tag in ("start_frame", "stop_frame")
    )
    step = whole((meta.findtext("frame_filter") or "").partition("=")[2] or "1", str(file.path), "frame_filter")
    frames = VideoFrames(images, Path(name).stem, only=True)
    size = frame_size(images / frames.file(first), f"frame {first} of {name}")
    original = meta.find("original_size")
    if original is not None and file.size(original) != size:
        height, width = file.size(original)
        raise file.at(original, f"the video is {width}x{height}, the image of frame {first} is {size[1]}x{size[0]}")
    video = builder.add_video(name)
    image = {frame: builder.add_image(video, frame, frames.file(frame), size) for frame in range(first, last + 1, step)}
    for number, track in enumerate(tracks):
        boxes = track.findall("box")
        keys: list[KeyBox] = []
        for box in boxes:
            frame = whole(file.text(box, "frame"), str(file.path), "frame")
            if frame not in image or (keys and frame <= keys[-1][0]):
                raise file.at(box, f"frame {frame} is none of the task's, or not after the one before")
            keys.append((frame, _box(file, box), box.get("outside") != "1"))
        outside = {frame for frame, _, shown in keys if not shown}
        for frame, place in track_boxes(keys, last) if keys else ():
            if frame in image and frame not in outside:
                builder.add_box(video, image[frame], ids[file.text(track, "label")], number, place)


def _box(file: XmlFile, element: Element) -> Box:
    x1, y1, x2, y2 = (file.number(element, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    turned = file.number(element, "rotation") if element.get("rotation") else 0
    return enclosing((x1, y1, x2, y2), turned, ((x1 + x2) / 2, (y1 + y2) / 2))
