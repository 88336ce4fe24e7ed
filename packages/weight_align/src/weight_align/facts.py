"""What a set of images says about itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """What a set of images says about itself."""

    name: str
    content_digest: str
    """Changes whenever pixels, labels or classes do; a training is continued only on the same ones."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""
