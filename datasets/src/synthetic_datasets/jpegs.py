"""Street views and their paintings as JPEG files in Pittsburgh's layout, for tools that read folders."""

import io
import os
import tempfile
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from .errors import BuildError, InputError
from .image_set import SOURCE
from .pittsburgh import View
from .reader import ImageSetFile

HELP = "write the views of a Pitts-CycleGAN file as JPEGs in Pittsburgh's folders, paintings named AtoB_..."
QUALITY = 95
_NEEDED = ("place", "pitch", "yaw", "visit")


def write_views(file: ImageSetFile, out: Path) -> dict[str, int]:
    """``source/000/000000_pitch1_yaw1.jpg`` and ``target/000/AtoB_000000_pitch1_yaw1.jpg`` below ``out``.

    Where a domain has several visits to its places, each has a folder of its own (``source/visit_000/000/...``). Every file
    appears whole or not at all; files of an interrupted run stay and are not written again.

    Returns:
        Folder -> number of its images.

    Raises:
        InputError: the file has no views, or a picture that this file does not make has one of these names.
        BuildError: a file cannot be written.
    """
    lacking = [name for name in _NEEDED if name not in file.arrays]
    if lacking:
        raise InputError(f"{file.path}: has no array {', '.join(lacking)}; expected a file of build pitts-cyclegan")
    domain, visit = file.read("domain"), file.read("visit")
    place, pitch, yaw = (file.read(name) for name in _NEEDED[:3])
    visits = {number: set(visit[domain == number].tolist()) for number in set(domain.tolist())}
    counts: dict[str, int] = {}
    for index in tqdm(range(len(file)), "export", unit="image", delay=2, disable=None, leave=False):
        number = int(domain[index])
        view = View(int(place[index]), int(pitch[index]), int(yaw[index]))
        name = "source" if number == SOURCE else "target"
        folder = out / name
        if len(visits[number]) > 1:
            folder /= f"visit_{int(visit[index]):03d}"
        prefix = "" if number == SOURCE else "AtoB_"
        _write(folder / view.folder / f"{prefix}{view.name}.jpg", Image.fromarray(file[index]["image"]))
        counts[name] = counts.get(name, 0) + 1
    return counts


def _write(path: Path, image: Image.Image) -> None:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=QUALITY, subsampling=0)
    data = encoded.getvalue()
    try:
        if path.exists():
            if path.read_bytes() == data:
                return
            raise InputError(f"{path}: another picture has this name already; name an empty folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise BuildError(f"{path}: cannot be written ({error.strerror or error}); the same command goes on") from error
