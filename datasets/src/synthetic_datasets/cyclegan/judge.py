"""Has the domain changed? A small classifier, trained apart on true photos and paintings, is asked."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from synthetic_datasets.cyclegan.material import Pile, cropped
from synthetic_datasets.cyclegan.networks import to_network

_BATCH = 16


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
        return self.head(self.features(images).mean(dim=(2, 3)))[:, 0]


def train_judge(photos: Pile, paintings: Pile, size: int, steps: int, seed: int = 0) -> DomainClassifier:
    """A classifier of both domains, trained on the CPU on random squares of ``size`` px, mirrored or not; in eval mode.
    It never sees a translated picture. Random numbers outside are left as they are."""
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
                    shown.append(cropped(pile.read(number), size, True, rng))
            loss = binary_cross_entropy_with_logits(judge(to_network(np.stack(shown))), wanted)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return judge.eval()


def taken_for_paintings(judge: DomainClassifier, pixels: NDArray[np.uint8]) -> float:
    """Part of the pictures, uint8 (n, h, w, 3), that the judge takes for paintings; it should not have seen them."""
    with torch.inference_mode():
        parts = [judge(to_network(pixels[first : first + 64])) for first in range(0, len(pixels), 64)]
        scores: NDArray[np.float64] = torch.cat(parts).double().sigmoid().numpy()
    return float((scores > 0.5).mean())
