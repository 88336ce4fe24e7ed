"""Files between the commands of make.sh: frames out of HDF5 files, and several pictures in one.

files.py video FILE.h5 NUMBER FOLDER          the frames of one video as PNG files
files.py join PNG ... --out PNG               the tops of pictures in two columns
"""

import sys
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

GAP = 8


def save_video(file: str, number: str, folder: str) -> None:
    with h5py.File(file) as content:
        frames = content["frames" if "frames" in content else "video"][int(number)]
    save_all(frames, Path(folder))


def save_all(pictures: np.ndarray, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).convert("RGB").save(folder / f"{number:04}.png")


def join(*paths: str, out: str) -> None:
    """The top of each picture, as high as half of its width, and all of one width."""
    pictures = [Image.open(path).convert("RGB") for path in paths]
    tops = [picture.crop((0, 0, picture.width, picture.width // 2)).resize((480, 240)) for picture in pictures]
    beside(tops, 2).quantize(128).save(out, optimize=True)


def beside(pictures: list[Image.Image], columns: int) -> Image.Image:
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    whole = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number % columns * (width + GAP), number // columns * (height + GAP)))
    return whole


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    options = {"out": words.pop()} if "--out" in words else {}
    words = [word for word in words if word != "--out"]
    {"video": save_video, "join": join}[job](*words, **options)
