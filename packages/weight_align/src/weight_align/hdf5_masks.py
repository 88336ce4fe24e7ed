"""Mask sets in one HDF5 file a split, as ``synthdata build shape-scenes`` writes them, read into memory.

Attribute ``format`` = "mask-set"; arrays, sample first: ``image`` u1 (S, H, W, 3), ``mask`` u1 (S, H, W) the class of every
pixel, 255 where it counts for nothing. Attribute ``class_names`` is a JSON list. More arrays are left alone.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from weight_align.facts import Facts
from weight_align.hdf5_images import open_hdf5
from weight_align.masks import MaskTensor

__all__ = ["open_hdf5_masks"]


def open_hdf5_masks(path: str | Path, split: str) -> MaskTensor:
    """A mask-set file.

    Args:
        path: the file, or a folder that holds it as ``<split>.h5``.
        split: ``train`` or ``test``.

    Raises:
        UsageError: if the file cannot be read, or a pixel has a class that is not known.
    """
    file = open_hdf5(path, split, "mask-set", {"image": "u", "mask": "u"}, ())
    images = torch.from_numpy(np.ascontiguousarray(file.arrays["image"].transpose(0, 3, 1, 2)))
    masks = torch.from_numpy(file.arrays["mask"])
    names = file.names("class_names")
    state = sha256("\n".join([str(tuple(images.shape)), *names, ""]).encode())
    for array in (images, masks):
        state.update(array.numpy().data)
    return MaskTensor(images, masks, Facts(file.name, state.hexdigest(), names))
