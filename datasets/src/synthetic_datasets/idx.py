"""Reader of the IDX format in which MNIST is published (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/).

A file is two zero bytes, one byte for the number type (0x08: unsigned byte), one for the number of axes, the
length of every axis as a big-endian 32-bit integer, then the values in C order. Only unsigned bytes occur in
MNIST.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Values of an IDX file of unsigned bytes, plain or gzipped (where its name ends in .gz); read-only.

    Args:
        path: the file.
        axes: how many axes it must have: 3 for MNIST images (N, rows, columns), 1 for labels (N,).

    Raises:
        InputError: the file cannot be read, is not IDX, has another type or number of axes, or its length is
            not the length its own header promises (a truncated download).
    """
    mend = "fetch the file again"
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); {mend}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error

    header = 4 + 4 * axes
    if len(data) < header:
        raise InputError(f"{path}: {len(data)} bytes, shorter than an IDX header of {header}; {mend}")
    if data[0] or data[1] or data[2] != UNSIGNED_BYTE or data[3] != axes:
        want = bytes((0, 0, UNSIGNED_BYTE, axes)).hex(" ")
        raise InputError(f"{path}: starts with {data[:4].hex(' ')}, an IDX file of this kind with {want}; {mend}")
    shape: tuple[int, ...] = struct.unpack(f">{axes}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise InputError(f"{path}: {len(data)} bytes, its header promises {expected} for shape {shape}; {mend}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)
