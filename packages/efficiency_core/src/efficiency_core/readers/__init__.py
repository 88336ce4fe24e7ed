"""Other people's files: images, videos, HDF5 files and tables, and reading ahead."""

from typing import TYPE_CHECKING

from efficiency_core import lazy_names

if TYPE_CHECKING:
    from efficiency_core.readers.ahead import mapped, read_ahead
    from efficiency_core.readers.hdf5 import ArraySpec, Hdf5File, opened
    from efficiency_core.readers.images import (
        IMAGE_SUFFIXES,
        class_folders,
        decode_image,
        decoding,
        image_size,
        list_frames,
        list_images,
        read_image,
    )
    from efficiency_core.readers.tables import json_line, number, read_json, table, text_lines, whole

__all__ = [
    "IMAGE_SUFFIXES", "ArraySpec", "Hdf5File", "class_folders", "decode_image", "decoding", "image_size", "json_line",
    "list_frames", "list_images", "mapped", "number", "opened", "read_ahead", "read_image", "read_json", "table",
    "text_lines", "whole",
]  # fmt: skip
__getattr__ = lazy_names(
    __name__,
    ahead="mapped read_ahead",
    hdf5="ArraySpec Hdf5File opened",
    images="IMAGE_SUFFIXES class_folders decode_image decoding image_size list_frames list_images read_image",
    tables="json_line number read_json table text_lines whole",
)
