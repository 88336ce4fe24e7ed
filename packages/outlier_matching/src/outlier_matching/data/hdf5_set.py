"""Image sets in one HDF5 file per split (``synthdata build shape``): ``image`` uint8 (S, H, W, 3), ``label`` (S,) with
-1 for none, ``domain`` (S,) 0 source or 1 target, ``outlier`` bool (S,). Attributes: ``format`` = "image-set", and the
JSON lists ``class_names`` and maybe ``domain_names``. Other arrays are ignored."""

from pathlib import Path

import torch
from torch import Tensor

from efficiency_core.readers import ArraySpec, Hdf5File
from outlier_matching.data.image_set import ImagesInfo

_ARRAYS = {
    "image": ArraySpec("uint8", "S H W 3"), "label": ArraySpec("i", "S"), "domain": ArraySpec("iu", "S"),
    "outlier": ArraySpec("b", "S"),
}  # fmt: skip
_DOMAINS = ("source", "target")


class HDF5ImageSet:
    """An image-set file: an :class:`~outlier_matching.data.image_set.ImageSet`. It is opened at the first
    read, once per process; threads take turns. Raises UsageError if the file is missing, not HDF5, damaged,
    not an image-set file, or of another split. ``path``: the file, or, with ``split``, a folder that holds it as
    ``<split>.h5``. ``split``: which split the file must be, if it names its split; None accepts any."""

    def __init__(self, path: str | Path, split: str | None = None) -> None:
        file = self._file = Hdf5File(path, "image-set", _ARRAYS, split=split)
        class_names = file.names("class_names")
        self.labels = file.integers("label", -1, len(class_names) - 1, "image")
        named = file.names("domain_names") if "domain_names" in file.attributes else None
        self.domains = file.integers("domain", 0, None if named is None else len(named) - 1, "image")
        self.outliers = file.read("outlier").astype(bool)
        further = (f"domain {number}" for number in range(len(_DOMAINS), int(self.domains.max()) + 1))
        domain_names = (*_DOMAINS, *further) if named is None else named
        self.info = ImagesInfo(file.name, file.source, file.content_digest, class_names, domain_names)

    def __len__(self) -> int:
        return len(self._file)

    def name(self, image: int) -> str:
        """``<split>/<number>``; the file stores no names."""
        return self._file.item_name(image)

    def image(self, image: int) -> Tensor:
        """uint8 (3, H, W). Raises BrokenFile if the file is damaged here."""
        return torch.from_numpy(self._file.row("image", image)).permute(2, 0, 1).contiguous()
