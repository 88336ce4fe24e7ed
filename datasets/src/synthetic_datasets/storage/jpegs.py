"""Street views and their paintings as JPEG files in Pittsburgh's layout, for tools that read folders."""

import io
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path
from synthetic_datasets.material.pittsburgh import View
from synthetic_datasets.storage.image_set import SOURCE
from synthetic_datasets.storage.reader import ImageSetFile

_NEEDED = ("place", "pitch", "yaw", "visit")


def write_views(file: ImageSetFile, out: Path) -> dict[str, int]:
    """``source/000/000000_pitch1_yaw1.jpg`` and ``target/000/AtoB_000000_pitch1_yaw1.jpg`` below ``out``. Where a
    domain has several visits to its places, each has a folder of its own (``source/visit_000/000/...``). Every file
    appears whole or not at all; files of an interrupted run stay and are not written again. Returns folder -> number of
    its images. Raises UsageError if the file has no views, or a picture that this file does not make has one of these
    names; WorkError if a file cannot be written."""
    lacking = [name for name in _NEEDED if name not in file.shapes]
    if lacking:
        raise UsageError(f"{file.path}: has no array {', '.join(lacking)}; expected a file of build pitts-cyclegan")
    domain, visit = file.read("domain"), file.read("visit")
    visits = {number: set(visit[domain == number].tolist()) for number in set(domain.tolist())}
    counts: dict[str, int] = {}
    for sample in tqdm(file, "export", len(file), unit="image", delay=2, disable=None, leave=False):
        number, *view, visited = (int(sample[name]) for name in ("domain", "place", "pitch", "yaw", "visit"))
        name, prefix = ("source", "") if number == SOURCE else ("target", "AtoB_")
        folder = out / name
        if len(visits[number]) > 1:
            folder /= f"visit_{visited:03d}"
        seen = View(*view)
        _write(folder / seen.folder / f"{prefix}{seen.name}.jpg", Image.fromarray(sample["image"]))
        counts[name] = counts.get(name, 0) + 1
    return counts


def _write(path: Path, image: Image.Image) -> None:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=95, subsampling=0)
    data = encoded.getvalue()
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    elif path.read_bytes() != data:
        raise UsageError(f"{path}: another picture has this name already; name an empty folder")
