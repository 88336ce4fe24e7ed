"""``outlier-matching train``."""

from dataclasses import replace

from efficiency_core.errors import UsageError
from outlier_matching.commands.domains import open_domains
from outlier_matching.commands.options import TrainOptions
from outlier_matching.training.train import NETWORK, train


def run(options: TrainOptions, device: str) -> None:
    """Train; prints losses, sizes of the pseudo sets and the path of the network."""
    config = options.training
    source, target = open_domains(options)
    validation = None
    if options.validation_split:
        gallery, queries = open_domains(replace(options, split=options.validation_split))
        if queries is None:
            raise UsageError(f"{options.data}: has one domain; a validation needs a target")
        validation = gallery, queries
    result = train(
        source, target, options.network, config, options.out, device, validation=validation,
        weights_input=options.weights_input,
    )  # fmt: skip
    last = result.losses[-1]
    print(f"loss               {last.total:.4f}")
    print(f"contrastive        {last.contrastive:.4f}")
    if config.method != "siamese":
        print(f"mmd                {last.mmd:.4f}")
    if result.sets is not None:
        print(f"entropy            {last.entropy:.4f}")
        print(f"pseudo inliers     {last.inliers}")
        print(f"pseudo outliers    {last.outliers}")
    print(f"seconds per epoch  {result.seconds_per_epoch:.1f}")
    print(f"source images      {len(source)}")
    print(f"target images      {len(result.targets)}")
    print(options.out / NETWORK)
