"""Hamming distance between neighbouring frames: the number of activations that change sign (thesis 3.3.3, equation 3.8).

The bit ``activation > 0`` is the same before and after the last ReLU. The release divides the count by the number of activations.
"""

import torch
from torch import Tensor

# Number of bits, a byte each, that are compared at once. On the CPU they then stay in its cache (a third faster than all at
# once). Elsewhere each step costs launches, and the bound only limits the memory for a long video.
_AT_ONCE = {"cpu": 4 * 2**20}
_AT_ONCE_ELSEWHERE = 64 * 2**20
_ODD_BITS = 0x5555555555555555
_BIT_PAIRS = 0x3333333333333333
_NIBBLES = 0x0F0F0F0F0F0F0F0F


def neighbour_distances(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """H(x_t, x_t+1) of equation 3.8 for all videos at once, on their device. Raises ValueError if ``x`` is not (V, T,
    *) with at least one entry, or ``lengths`` not (V,), or, on the CPU, not 1 to T.

    Args:
        x: activations (V, T, *) of any real dtype, or bool. A NaN counts as not above 0.
        lengths: int64 (V,) real frames of each video, 1 to T; None: all T.

    Returns:
        int64 (V, T-1): number of entries whose bit differs between frames t and t+1; 0 where t+1 is padding."""
    if x.dim() < 3 or x.numel() == 0:
        raise ValueError(f"activations must be (V, T, *) with at least one entry, got {tuple(x.shape)}")
    videos, frames = x.shape[:2]
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    distances = _traced_distances(x) if traced else _distances(x)
    if lengths is None:
        return distances
    later = torch.arange(1, frames, device=x.device)
    return distances.masked_fill(later >= checked_lengths(lengths, videos, frames, x.device), 0)


def pack_signs(x: Tensor) -> Tensor:
    """The bits of activations (n, *), eight in a byte: uint8 (n, B), B = 8 ceil(entries / 64). A streamed pass keeps
    only this of a frame (24.5 KiB for ResNet-18 at 224x224). The order of the bits is an internal one, the same for
    every n, device and memory format; bits past the last entry are 0. Raises ValueError if ``x`` is not (n, *) with at
    least one entry."""
    if x.dim() < 2 or x.numel() == 0:
        raise ValueError(f"activations must be (n, *) with at least one entry, got {tuple(x.shape)}")
    planes = _words(_signs(x.detach()).flatten(1)).view(x.shape[0], 8, -1)
    packed = planes[:, 7]
    for plane in range(6, -1, -1):  # a byte of a word holds one bit: Horner's rule packs eight words into one
        packed = torch.add(planes[:, plane], packed, alpha=2)
    return packed.view(torch.uint8)


def packed_distance(a: Tensor, b: Tensor) -> Tensor:
    """Bits that differ between frames of :func:`pack_signs`, uint8 (..., B), whose shapes broadcast: int64 (...). They
    equal :func:`neighbour_distances` of the frames themselves. Raises ValueError if they are not uint8 with the same B,
    a multiple of 8."""
    if a.dtype != torch.uint8 or b.dtype != torch.uint8 or a.shape[-1] != b.shape[-1] or a.shape[-1] % 8:
        got = f"{a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
        raise ValueError(f"packed signs must be uint8 (..., B) with the same B, a multiple of 8, got {got}")
    bits = a.contiguous().view(torch.int64) ^ b.contiguous().view(torch.int64)
    bits = (bits & _ODD_BITS) + (bits >> 1 & _ODD_BITS)  # the shift copies the sign bit, the mask takes the copy away
    bits = (bits & _BIT_PAIRS) + (bits >> 2 & _BIT_PAIRS)
    return _add_bytes((bits & _NIBBLES) + (bits >> 4 & _NIBBLES), 31)


def _distances(x: Tensor) -> Tensor:
    videos, frames = x.shape[:2]
    maps = x.detach().permute(0, 1, *map_axes(x))
    step = max(1, _AT_ONCE.get(x.device.type, _AT_ONCE_ELSEWHERE) // (videos * maps[0, 0].numel()))
    counts: list[Tensor] = []
    last: Tensor | None = None
    for start in range(0, frames, step):
        words = _words(_signs(maps[:, start : start + step]).flatten(2))
        if last is not None:
            counts.append(_add_bytes(last ^ words[:, :1], 255))
        if words.shape[1] > 1:
            counts.append(_add_bytes(words[:, 1:] ^ words[:, :-1], 255))
        last = words[:, -1:]
    if not counts:
        return torch.zeros(videos, 0, dtype=torch.int64, device=x.device)
    return torch.cat(counts, 1) if len(counts) > 1 else counts[0]


def _traced_distances(x: Tensor) -> Tensor:
    """The same for the tracer of torch.jit (fvcore counts with it), which cannot record a view with another dtype."""
    bits = _signs(x.detach()).flatten(2)
    return (bits[:, 1:] != bits[:, :-1]).sum(2)


def map_axes(x: Tensor) -> list[int]:
    """The axes 2, 3, ... of ``x`` (V, T, *) in their order in memory: so channels-last maps are flattened without a copy."""
    strides = x.stride()
    return sorted(range(2, x.dim()), key=lambda axis: strides[axis], reverse=True)


def checked_lengths(lengths: Tensor, videos: int, frames: int, device: torch.device) -> Tensor:
    """``lengths``, whole numbers (V,) from 1 to T (checked on the CPU alone) or else a ``ValueError``, as int64 (V, 1)."""
    if not isinstance(lengths, Tensor):
        raise ValueError(f"lengths must be a tensor of whole numbers ({videos},), got {type(lengths).__name__}")
    if lengths.shape != (videos,) or lengths.is_floating_point():
        raise ValueError(f"lengths must be whole numbers ({videos},), got {lengths.dtype} {tuple(lengths.shape)}")
    if readable(lengths) and not ((lengths >= 1) & (lengths <= frames)).all():
        raise ValueError(f"lengths must be 1 to {frames}, the frames of the batch, got {lengths.tolist()}")
    return lengths.to(device=device, dtype=torch.int64, non_blocking=True)[:, None]


def readable(values: Tensor) -> bool:
    """Whether the values can be read without waiting for a device; a fake or traced tensor has no values."""
    return values.device.type == "cpu" and type(values) is Tensor and not torch.compiler.is_compiling()


def _signs(x: Tensor) -> Tensor:
    return x if x.dtype == torch.bool else x > 0


def _words(bits: Tensor) -> Tensor:
    """bool (..., K) as int64 (..., W): eight bytes of 0 or 1 per word, W a multiple of 8, zeros at the end."""
    if bits.shape[-1] % 64:
        bits = torch.nn.functional.pad(bits, (0, 64 - bits.shape[-1] % 64))
    return bits.contiguous().view(torch.int64)


def _add_bytes(words: Tensor, most: int) -> Tensor:
    """Sum of all bytes of int64 (..., W) -> int64 (...). Whole words are added first, which are eight sums at a time,
    at most ``most`` words, so that no byte overflows."""
    size = words.shape[-1]
    rows = next(rows for rows in range(min(most, size), 0, -1) if size % rows == 0)
    return words.view(*words.shape[:-1], rows, size // rows).sum(-2).view(torch.uint8).sum(-1)
