"""``location-anticipation``: convert data, train, evaluate, and detect objects in a video."""

from typing import Any

from efficiency_core.command import CONTINUES, Command, Program


def _command(name: str, summary: str, **more: Any) -> Command:
    module = f"location_anticipation.commands.{name}"
    return Command(summary, f"{module}:Options", f"{module}:run", **more)


program = Program(
    "location-anticipation",
    "Detect objects in videos with the network on keyframes alone, and anticipate their boxes in between.",
    {
        "convert": _command("convert", "make a CocoVID JSON file of a data set"),
        "train": _command("train", "train a detector on annotated videos", device=True, interrupted=CONTINUES),
        "adapt": _command(
            "adapt",
            "learn to anticipate for any detector, from videos without annotation",
            device=True,
            interrupted=CONTINUES,
        ),
        "evaluate": _command("evaluate", "average precision and trajectory IoU on annotated videos", device=True),
        "detect": _command(
            "detect", "detect objects in a video file, a folder of images or a camera", device=True, extra="video"
        ),
    },
    package="location_anticipation",
)
main, command = program.main, program.command
