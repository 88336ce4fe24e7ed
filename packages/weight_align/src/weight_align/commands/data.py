"""Opening the data set that the options of a command name."""

from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from efficiency_core.settings import parse_pairs
from weight_align.commands.options import DataOptions
from weight_align.data import MASK_FORMATS, open_dataset


def format_of(path: Path, options: DataOptions) -> str:
    """The format of the data set in ``path``, from the options or from the HDF5 file. Raises UsageError if it is not
    given and the data is no HDF5 file."""
    if options.format != "auto":
        return options.format
    file = path / f"{options.split}.h5" if path.is_dir() else path
    if file.suffix.lower() not in (".h5", ".hdf5") or (path.is_dir() and not file.is_file()):
        raise UsageError(f"{path}: give its layout as --format (see --help)")
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    from efficiency_core.readers import Hdf5File

    return str(Hdf5File(file, None, {}).attributes["format"])


def open_data(path: Path, options: DataOptions, split: str, masks: bool) -> Any:
    """One split of the data set in ``path``. Raises UsageError if it is of the other kind or cannot be used.
    ``options``: format and options of the data set; ``masks``: whether pictures with masks are expected, or labelled
    images."""
    format = format_of(path, options)
    if (format in MASK_FORMATS) != masks:
        expected = "pictures with masks; train labelled images with `weight-align train`"
        other = "labelled images; train pictures with masks with `weight-align train-segmentation`"
        raise UsageError(f"{path}: has format {format}, expected {expected if masks else other}")
    return open_dataset(path, format, split, **parse_pairs(options.option, "--option"))
