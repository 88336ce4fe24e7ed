"""Sampling of proposals on several devices as one device with the whole batch samples them.

RPN and RoI heads train on a random part of the proposals of every image, and divide their losses by its size. On several
devices each process has some of the images. Here all processes draw the numbers of all images, in the order of the images,
and losses are weighted so that their mean is divided by the number of samples in the whole batch. Numbers are those of one
device if all images have one size; images of several sizes are padded to the largest one in each process.
"""

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from efficiency_core.loop import Accelerator
from location_anticipation.model.detector import AnticipationRCNN


class SharedSampling:
    """The samplers of a model in one of several processes; they take the place of torchvision's."""

    def __init__(self, model: AnticipationRCNN, accelerator: Accelerator) -> None:
        self._rpn = _SharedSampler(model.rpn.fg_bg_sampler, accelerator)
        self._roi = _SharedSampler(model.roi_heads.fg_bg_sampler, accelerator)
        model.rpn.fg_bg_sampler, model.roi_heads.fg_bg_sampler = self._rpn, self._roi

    def start_step(self, seed: int, frames: int) -> None:
        """Set the random states of the next forward pass.

        Args:
            seed: of the step, for torch's generators other than that of the CPU; its state is that of the step already.
            frames: images of the whole batch. torchvision's transform draws one number for each.
        """
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        torch.set_rng_state(state)
        for _ in range(frames):
            torch.empty(1).uniform_()
        self._rpn.state = torch.get_rng_state()

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of that forward pass, weighted by the number of samples."""
        rpn = ("loss_objectness", "loss_rpn_box_reg")
        return {name: loss * (self._rpn if name in rpn else self._roi).weight for name, loss in losses.items()}


class _SharedSampler(BalancedPositiveNegativeSampler):
    """Draws for the images of all processes, and samples those of its own.

    Attributes:
        state: random state of the CPU that the next call starts from; None leaves it as it is.
        weight: mean number of samples per image of this process, over that of all.
    """

    def __init__(self, sampler: BalancedPositiveNegativeSampler, accelerator: Accelerator) -> None:
        super().__init__(sampler.batch_size_per_image, sampler.positive_fraction)
        self._accelerator = accelerator
        self.state: Tensor | None = None
        self.weight = 1.0

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        if self.state is not None:
            torch.set_rng_state(self.state)
        device = matched_idxs[0].device
        own = [(int((matched >= 1).sum()), int((matched == 0).sum())) for matched in matched_idxs]
        counts = self._accelerator.everyone(own)
        for rank, images in enumerate(counts):
            if rank == self._accelerator.rank:
                sampled: tuple[list[Tensor], list[Tensor]] = super().__call__(matched_idxs)
                continue
            for image in images:
                for count in image:
                    torch.randperm(count, device=device)
        every = [self._samples(*image) for images in counts for image in images]
        mean = sum(self._samples(*image) for image in own) / len(own)
        self.weight = mean / (sum(every) / len(every)) if any(every) else 1.0
        return sampled

    def _samples(self, positive: int, negative: int) -> int:
        """Number of samples of an image from its numbers of positive and negative proposals."""
        positive = min(positive, int(self.batch_size_per_image * self.positive_fraction))
        return positive + min(negative, self.batch_size_per_image - positive)
