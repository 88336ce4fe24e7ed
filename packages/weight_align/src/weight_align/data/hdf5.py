"""HDF5 files of ``synthdata build``: image sets (``image`` u1 (S, H, W, 3), ``label`` (S,) with -1 for none, maybe
``domain`` (S,)) and mask sets (``image``, ``mask`` u1 (S, H, W) with 255 for ignored pixels). Attributes: ``format``,
and the JSON lists ``class_names`` and maybe ``domain_names``. Further arrays are not read."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from efficiency_core.errors import UsageError
from efficiency_core.readers import ArraySpec, Hdf5File
from weight_align.data.dataset import DatasetInfo, ImageTensor, MaskTensor, pixel_digest

_IMAGE = ArraySpec("uint8", "S H W 3")
_IMAGE_SET = {"image": _IMAGE, "label": ArraySpec("i", "S"), "domain": ArraySpec("iu", "S", optional=True)}
_MASK_SET = {"image": _IMAGE, "mask": ArraySpec("uint8", "S H W")}


def open_hdf5_images(path: str | Path, split: str, *, domain: str = "", unlabelled: str = "") -> ImageTensor:
    """An image set, or one domain of it. Raises UsageError if the file cannot be read, has no such domain, or has
    images without a label.

    Args:
        path: the file, or a folder that holds it as ``<split>.h5``.
        split: ``train`` or ``test``.
        domain: name or number of a domain; empty takes all images.
        unlabelled: ``left_out`` drops the images with label -1; empty refuses a file with such images."""
    file = Hdf5File(path, "image-set", _IMAGE_SET, split=split)
    names = file.names("class_names")
    labels = file.read("label").astype(np.int64)
    chosen, name = _domain(file, domain)
    if unlabelled not in ("", "left_out"):
        raise UsageError(f"option unlabelled: expected left_out, got {unlabelled!r}")
    without = int((labels[chosen] == -1).sum())
    if without and not unlabelled:
        raise UsageError(
            f"{file.path}: {without} of {int(chosen.sum())} images have no label (-1); "
            "the option unlabelled=left_out leaves them out"
        )
    chosen &= labels != -1
    if not chosen.any():
        raise UsageError(f"{file.path}: has no labelled image{f' in domain {domain}' if domain else ''}")
    # One copy, from (H, W, 3) to (3, H, W).
    pixels = np.ascontiguousarray(file.read("image")[chosen].transpose(0, 3, 1, 2))
    images, numbers = torch.from_numpy(pixels), torch.from_numpy(labels[chosen])
    return ImageTensor(images, numbers, DatasetInfo(name, pixel_digest(images, numbers, names), names))


def open_hdf5_masks(path: str | Path, split: str) -> MaskTensor:
    """A mask set. Raises UsageError if the file cannot be read, or a pixel has an unknown class. ``path``: the file, or
    a folder that holds it as ``<split>.h5``; ``split``: ``train`` or ``test``."""
    file = Hdf5File(path, "mask-set", _MASK_SET, split=split)
    images = torch.from_numpy(np.ascontiguousarray(file.read("image").transpose(0, 3, 1, 2)))
    masks = torch.from_numpy(file.read("mask"))
    names = file.names("class_names")
    state = sha256("\n".join([str(tuple(images.shape)), *names, ""]).encode())
    for array in (images, masks):
        state.update(array.numpy().data)
    return MaskTensor(images, masks, DatasetInfo(file.name, state.hexdigest(), names))


def _domain(file: Hdf5File, domain: str) -> tuple[NDArray[np.bool_], str]:
    """Which images belong to a domain, bool (S,), and the name of the data set with the domain."""
    if not domain:
        return np.ones(len(file), dtype=np.bool_), file.name
    if "domain" not in file.shapes:
        raise UsageError(f"{file.path}: has no domains, but domain {domain!r} is asked for")
    domains = file.read("domain")
    if "domain_names" in file.attributes:
        names = file.names("domain_names")
    else:
        names = tuple(str(number) for number in range(int(domains.max()) + 1))
    if domain not in names and not (domain.isdecimal() and int(domain) < len(names)):
        raise UsageError(f"{file.path}: has no domain {domain!r}; it has {', '.join(names)}")
    number = names.index(domain) if domain in names else int(domain)
    return domains == number, f"{file.name} {names[number]}"
