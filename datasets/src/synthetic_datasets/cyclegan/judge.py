"""Has the domain changed? A small classifier, trained apart on true photos and paintings, is asked."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .material import Pile
from .translation import to_network

Pixels = NDArray[np.uint8]
_BATCH = 16


@dataclass(frozen=True)
class Verdict:
    """Part of the pictures, 0 to 1, that the classifier takes for paintings; none of them was it trained on."""

    photos: float
    paintings: float
    painted: float
    """Of the photos, translated."""


class DomainClassifier(nn.Module):
    """Four strided convolutions and a mean over the picture: how much it looks like a painting."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 48, 64)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 to logits (n,): above 0 for a painting."""
        out: Tensor = self.head(self.features(images).mean(dim=(2, 3)))[:, 0]
        return out


def train_judge(photos: Pile, paintings: Pile, size: int, steps: int, seed: int = 0) -> DomainClassifier:
    """A classifier of both domains, trained on the CPU on random squares of ``size`` px, mirrored or not; in eval mode.

    It never sees a translated picture. Random numbers outside are left as they are.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(9,)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = DomainClassifier()
        optimizer = torch.optim.Adam(judge.parameters(), 1e-3)
        wanted = torch.tensor([0.0, 1.0]).repeat_interleave(_BATCH)
        for _ in range(steps):
            shown = []
            for pile in (photos, paintings):
                for number in rng.integers(len(pile), size=_BATCH).tolist():
                    top, left = rng.integers(pile.side - size + 1, size=2).tolist()
                    square = pile.read(number)[top : top + size, left : left + size]
                    shown.append(square[:, ::-1] if rng.random() < 0.5 else square)
            loss = binary_cross_entropy_with_logits(judge(to_network(np.stack(shown))), wanted)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return judge.eval()


def domain_score(judge: DomainClassifier, pixels: Pixels) -> NDArray[np.float64]:
    """(n,) probability that each picture, uint8 (n, h, w, 3), is a painting."""
    with torch.inference_mode():
        parts = [judge(to_network(pixels[first : first + 64])) for first in range(0, len(pixels), 64)]
        scores: NDArray[np.float64] = torch.cat(parts).double().sigmoid().numpy()
    return scores


def verdict(judge: DomainClassifier, photos: Pixels, paintings: Pixels, painted: Pixels) -> Verdict:
    """What the judge takes for paintings, of pictures it has not seen; each uint8 (n, h, w, 3)."""
    parts = [float((domain_score(judge, pixels) > 0.5).mean()) for pixels in (photos, paintings, painted)]
    return Verdict(*parts)
