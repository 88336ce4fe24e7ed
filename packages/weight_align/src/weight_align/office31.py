"""Office-31 (Saenko et al., ECCV 2010): 31 categories in three domains, read into memory resized.

::

    ROOT/amazon|dslr|webcam/images/<class>/frame_0001.jpg

``images/`` may be missing, as in some copies. The domains have 2,817, 498 and 795 images; the thesis (section 5.4.1) counts
4,652. All accuracies of its table 5.6 are whole numbers of 415 (A), 73 (D) and 130 (W) images: it tested on a held-out part
of about 15 % of a domain, which it does not name. Here that part is spread evenly over the images in order of class and
name, and has exactly those numbers of images.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from weight_align.errors import UsageError
from weight_align.facts import Facts
from weight_align.image_folder import labelled_files, whole_number
from weight_align.image_reading import read_all
from weight_align.image_tensor import ImageTensor, pixel_digest

__all__ = ["DOMAINS", "SPLITS", "held_out", "open_office31"]

DOMAINS = ("amazon", "dslr", "webcam")
SPLITS = ("train", "test", "all")
_HELD_OUT = {"amazon": (415, 2817), "dslr": (73, 498), "webcam": (130, 795)}


def open_office31(path: str | Path, split: str, *, domain: str = "", size: str = "64") -> ImageTensor:
    """One domain of Office-31.

    Args:
        path: its folder.
        split: ``test`` is the held-out part, ``train`` the others; ``all`` is the full domain, the usual protocol of
            unsupervised domain adaptation.
        domain: ``amazon``, ``dslr`` or ``webcam``; must be given.
        size: height and width that images are resized to. The thesis does not give it.

    Raises:
        UsageError: if the domain is unknown, missing or empty, or there is no such split.
        BrokenImage: if an image cannot be read.
    """
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
    return ImageTensor(images, labels, Facts(f"Office-31 {domain}", pixel_digest(images, labels, names), names))


def held_out(domain: str, count: int) -> Tensor:
    """Which of a domain's images, in order of class and name, are held out for testing: bool (count,).

    They are spread evenly, so every class gives its share, and are the thesis's number where the domain is whole.
    """
    part, whole = _HELD_OUT[domain]
    tested = max(1, round(count * part / whole))
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[(2 * torch.arange(tested) + 1) * count // (2 * tested)] = True
    return chosen
