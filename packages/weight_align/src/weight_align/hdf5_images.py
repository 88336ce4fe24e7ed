"""Image sets in one HDF5 file a split, as ``synthdata build coloured-shapes`` and its like write them, read into memory.

Attribute ``format`` = "image-set"; arrays, sample first: ``image`` u1 (S, H, W, 3), ``label`` integer (S,) with -1 for
none; where there are domains, ``domain`` integer (S,). Attribute ``class_names`` is a JSON list; ``domain_names`` may be
one. More arrays (the factors that made the images) are left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from weight_align.errors import UsageError
from weight_align.facts import Facts
from weight_align.image_tensor import ImageTensor, pixel_digest

__all__ = ["Hdf5File", "open_hdf5", "open_hdf5_images"]

MEND = "build it again"


@dataclass(frozen=True)
class Hdf5File:
    """A file of one split, whole in memory."""

    path: Path
    attributes: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def names(self, attribute: str) -> tuple[str, ...]:
        """A JSON list among the attributes.

        Raises:
            UsageError: if it is missing or something else.
        """
        try:
            return tuple(str(name) for name in json.loads(self.attributes[attribute]))
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(f"{self.path}: attribute {attribute!r} is not a JSON list ({error}); {MEND}") from error

    @property
    def name(self) -> str:
        """Of the data set."""
        return str(self.attributes.get("name", self.path.stem))


def open_hdf5(
    path: str | Path, split: str, format: str, required: dict[str, str], optional: tuple[str, ...]
) -> Hdf5File:
    """The wanted arrays of a file.

    Args:
        path: the file, or a folder that holds it as ``<split>.h5``.
        split: which file of a folder; a file that is named itself must be of this split if it says of which it is.
        format: what the file's attribute ``format`` must say.
        required: name of an array -> kinds of numbers it may have (numpy's letters); all have one row an image, and one
            that holds pixels, ``image`` or ``mask``, is of uint8.
        optional: further arrays, read where they are there.

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, of another format or split, or an array is missing or odd.
    """
    path = Path(path)
    path = path / f"{split}.h5" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected an {format} HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format")
            if found != format:
                raise UsageError(f"{path}: not an {format} file (its attribute 'format' is {found!r})")
            own = file.attrs.get("split")
            if own is not None and str(own) != split:
                raise UsageError(f"{path}: is the {own} split, expected {split}")
            for name, kinds in required.items():
                if name not in file or not hasattr(file[name], "dtype"):
                    raise UsageError(f"{path}: array {name!r} is missing; {MEND}")
                if file[name].dtype.kind not in kinds or (name in ("image", "mask") and file[name].dtype != np.uint8):
                    raise UsageError(f"{path}: array {name!r} has the wrong type, {file[name].dtype}; {MEND}")
            wanted = [*required, *(name for name in optional if name in file)]
            attributes = {str(key): value for key, value in file.attrs.items()}
            arrays = {name: file[name][()] for name in wanted}
    except UsageError:
        raise
    except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError, MemoryError, ...
        raise UsageError(f"{path}: not a readable HDF5 file ({error}); {MEND}") from error
    shape = arrays["image"].shape
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise UsageError(f"{path}: expected images (S, H, W, 3), got {shape}; {MEND}")
    for name, array in arrays.items():
        expected = shape[:3] if name == "mask" else shape[:1]
        if name != "image" and array.shape != expected:
            raise UsageError(
                f"{path}: array {name!r} is {array.shape}, beside images {shape} it must be {expected}; {MEND}"
            )
    return Hdf5File(path, attributes, arrays)


def open_hdf5_images(path: str | Path, split: str, *, domain: str = "", unlabelled: str = "") -> ImageTensor:
    """An image-set file, or one domain of it.

    Args:
        path: the file, or a folder that holds it as ``<split>.h5``.
        split: ``train`` or ``test``.
        domain: name or number of a domain; empty takes all images.
        unlabelled: ``left_out`` drops the images whose label is -1; empty refuses a file that has such images.

    Raises:
        UsageError: if the file cannot be read, has no such domain, or has images without a label.
    """
    file = open_hdf5(path, split, "image-set", {"image": "u", "label": "i"}, ("domain",))
    names = file.names("class_names")
    labels = file.arrays["label"].astype(np.int64)
    chosen, called = _domain(file, domain)
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
    # One copy, from image by image of rows of pixels to planes.
    pixels = np.ascontiguousarray(file.arrays["image"][chosen].transpose(0, 3, 1, 2))
    images, numbers = torch.from_numpy(pixels), torch.from_numpy(labels[chosen])
    return ImageTensor(images, numbers, Facts(called, pixel_digest(images, numbers, names), names))


def _domain(file: Hdf5File, domain: str) -> tuple[NDArray[np.bool_], str]:
    everything = np.ones(len(file.arrays["label"]), dtype=np.bool_)
    if not domain:
        return everything, file.name
    if "domain" not in file.arrays:
        raise UsageError(f"{file.path}: has no domains, but domain {domain!r} is asked for")
    domains = file.arrays["domain"]
    if "domain_names" in file.attributes:
        names = file.names("domain_names")
    else:
        names = tuple(str(number) for number in range(int(domains.max()) + 1))
    if domain not in names and not (domain.isdecimal() and int(domain) < len(names)):
        raise UsageError(f"{file.path}: has no domain {domain!r}; it has {', '.join(names)}")
    number = names.index(domain) if domain in names else int(domain)
    return domains == number, f"{file.name} {names[number]}"
