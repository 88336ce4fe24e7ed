"""Office-31 (Saenko et al., ECCV 2010): ``ROOT/amazon|dslr|webcam[/images]/<class>/frame_0001.jpg``, 4,110 images (the
thesis counts 4,652). The accuracies of its table 5.6 are multiples of 1/415 (A), 1/73 (D) and 1/130 (W): it tested on a
held-out part that it does not specify; here that part has these numbers of images."""

from pathlib import Path

import torch
from torch import Tensor

from efficiency_core.errors import UsageError
from weight_align.data.dataset import DatasetInfo, ImageTensor, pixel_digest
from weight_align.data.decoding import read_all
from weight_align.data.image_folder import labelled_files, whole_number

DOMAINS = ("amazon", "dslr", "webcam")
SPLITS = ("train", "test", "all")
_HELD_OUT = {"amazon": (415, 2817), "dslr": (73, 498), "webcam": (130, 795)}


def open_office31(path: str | Path, split: str, *, domain: str = "", size: str = "64") -> ImageTensor:
    """One domain of Office-31. Raises UsageError if the domain is unknown, missing or empty, or there is no such split;
    BrokenFile if an image cannot be read.

    Args:
        path: the folder of the domains.
        split: ``test`` is the held-out part, ``train`` the rest; ``all`` is the whole domain, the usual protocol of
            unsupervised domain adaptation.
        domain: ``amazon``, ``dslr`` or ``webcam``; required.
        size: height and width that images are resized to, which the thesis does not give."""
    path = Path(path)
    if domain not in DOMAINS:
        raise UsageError(f"office31 needs the option domain, one of {', '.join(DOMAINS)}, got {domain!r}")
    if split not in SPLITS:
        raise UsageError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    folder = path / domain
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; expected Office-31 as {path}/{domain}/images/<class>/*.jpg")
    files, labels, names = labelled_files(path, f"{domain}/images" if (folder / "images").is_dir() else domain)
    if split != "all":
        test = held_out(domain, len(files))
        wanted = test if split == "test" else ~test
        files, labels = [files[index] for index in wanted.nonzero().flatten().tolist()], labels[wanted]
    images = read_all(path, files, whole_number("size", size))
    return ImageTensor(images, labels, DatasetInfo(f"Office-31 {domain}", pixel_digest(images, labels, names), names))


def held_out(domain: str, count: int) -> Tensor:
    """Which images of a domain, in order of class and name, are held out for testing: bool (count,). They are spread
    evenly, so every class has its share. For a complete domain their number is the thesis's."""
    part, whole = _HELD_OUT[domain]
    tested = max(1, round(count * part / whole))
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[(2 * torch.arange(tested) + 1) * count // (2 * tested)] = True
    return chosen
