"""``full-video``: train and evaluate networks that see every frame of a video, and name the action of a video."""

try:
    from efficiency_core.command import CONTINUES, Command, Program
except ModuleNotFoundError as error:
    raise SystemExit(f'full-video needs {error.name}: pip install "full_video[train]"') from None


def _command(name: str, summary: str, extra: str, interrupted: str = "nothing was written") -> Command:
    module = f"full_video.commands.{name}"
    options = f"{module}:{name.capitalize()}Options"
    return Command(summary, options, f"{module}:run", device=True, extra=extra, interrupted=interrupted)


program = Program(
    "full-video",
    "Recognise actions in videos: networks that see every frame at the memory of a few.",
    {
        "train": _command("train", "train a network on labelled videos", "train", CONTINUES),
        "evaluate": _command("evaluate", "top-1 and top-5 of a network on labelled videos", "train"),
        "predict": _command("predict", "name the action of a video file or a folder of images", "video"),
    },
    package="full_video",
)
main, command = program.main, program.command
