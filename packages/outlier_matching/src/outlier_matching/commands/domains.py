"""The two domains that the options of a command name."""

from efficiency_core.errors import UsageError
from efficiency_core.settings import parse_pairs
from outlier_matching.commands.options import DataOptions
from outlier_matching.data.formats import open_images
from outlier_matching.data.image_set import Selection, select


def open_domains(options: DataOptions) -> tuple[Selection, Selection | None]:
    """The source without its outliers, and the target with its outliers; None if the data has one domain and no other
    is named. Raises UsageError if they cannot be used."""
    path, format = options.data, options.format
    if format == "auto":
        if path.suffix.lower() not in (".h5", ".hdf5") and not (path / f"{options.split}.h5").is_file():
            raise UsageError(f"{path}: name its layout by --format (see --help)")
        format = "image-set"
    images = open_images(path, format, options.split, **parse_pairs(options.option, "--option"))
    source = select(images, domain=options.source, outliers=False)
    if not options.target and len(images.info.domain_names) < 2:
        return source, None
    return source, select(images, domain=options.target or "1")
