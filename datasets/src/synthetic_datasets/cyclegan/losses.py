"""The losses of a CycleGAN as plain functions; all of them are means over pictures and pixels."""

from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss


def adversarial_loss(judged: Tensor, real: bool) -> Tensor:
    """Least squares (LSGAN): mean of ``(D(x) - 1)^2`` where the patches should pass for real, of ``D(x)^2`` else.
    ``judged``: a discriminator's output, any shape; ``real``: what the patches are to be taken for."""
    return mse_loss(judged, judged.new_full((), float(real)).expand_as(judged))


def discriminator_loss(real: Tensor, translated: Tensor) -> Tensor:
    """Half the sum of both adversarial losses, which slows a discriminator down against the generators. ``real``: its
    output for pictures of its domain; ``translated``: its output for translated pictures (from the pool)."""
    return (adversarial_loss(real, True) + adversarial_loss(translated, False)) / 2


def cycle_loss(picture: Tensor, back: Tensor, weight: float = 10.0) -> Tensor:
    """``weight`` times the mean absolute difference of a picture and what came back of it."""
    return weight * l1_loss(back, picture)


def identity_loss(picture: Tensor, repainted: Tensor, cycle: float = 10.0, identity: float = 0.5) -> Tensor:
    """``identity * cycle`` times the mean absolute change of a picture that already is of the domain painted. It keeps
    colours that need not change, without which paintings turn day into evening."""
    return identity * cycle * l1_loss(repainted, picture)
