"""``synthdata``: build data sets, train the network that one of them needs, show what a file holds."""

from efficiency_core.command import CONTINUES, Command, Group, Program
from synthetic_datasets.generators import SUMMARIES

_BUILD, _FILES, _TRAIN = (f"synthetic_datasets.commands.{name}" for name in ("build", "files", "train_cyclegan"))
_EXTRAS = {"move4mnist": "video", "pitts-cyclegan": "cyclegan"}


def _build(name: str, summary: str) -> Command:
    return Command(
        summary.removesuffix("."), f"{_BUILD}:{name.replace('-', '_')}", f"{_BUILD}:run", extra=_EXTRAS.get(name, ""),
        interrupted="no data set was changed",
    )  # fmt: skip


program = Program(
    "synthdata",
    "Generated data sets of videos and images in which every factor is known.",
    {
        "build": Group("make a data set", {name: _build(name, summary) for name, summary in SUMMARIES.items()}),
        "train-cyclegan": Command(
            "train a CycleGAN that paints photos, or continue the training in --out",
            f"{_TRAIN}:TrainOptions", f"{_TRAIN}:run", device=True, extra="cyclegan", interrupted=CONTINUES,
        ),
        "card": Command("print what a file says about itself, as JSON", f"{_FILES}:CardOptions", f"{_FILES}:print_card"),
        "preview": Command("draw a contact sheet of a file", f"{_FILES}:PreviewOptions", f"{_FILES}:preview"),
        "export": Command(
            "write the views of a Pitts-CycleGAN file as JPEGs in Pittsburgh's folders, paintings named AtoB_...",
            f"{_FILES}:ExportOptions", f"{_FILES}:export",
        ),
    },
    package="synthetic_datasets",
)  # fmt: skip
main, command = program.main, program.command
