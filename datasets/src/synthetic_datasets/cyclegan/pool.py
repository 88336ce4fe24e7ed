"""The image pool: discriminators see old translations too, so that the two sides do not chase each other."""

import torch
from torch import Tensor


class ImagePool:
    """The last translations, ``capacity`` of them.

    While it fills, every picture goes in and comes back. After that a picture comes back itself with probability 1/2;
    else a random one of the pool comes back and the picture takes its place.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: list[Tensor] = []
        """What it holds, each (3, h, w)."""

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(n, 3, h, w) to as many of the same shape, detached; decisions come from ``generator``, a CPU one."""
        if self.capacity == 0:
            return images.detach()
        shown = []
        for image in images.detach():
            if len(self.images) < self.capacity:
                self.images.append(image.clone())
            elif torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=generator))
                old, self.images[place] = self.images[place], image.clone()
                image = old
            shown.append(image)
        return torch.stack(shown)

    def state(self) -> Tensor:
        """All it holds, (n, 3, h, w), or an empty tensor; for a checkpoint."""
        return torch.stack(self.images) if self.images else torch.empty(0)

    def restore(self, state: Tensor) -> None:
        """Hold what ``state`` told, and nothing else."""
        self.images = list(state.unbind()) if state.numel() else []
