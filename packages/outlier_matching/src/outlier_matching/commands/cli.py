"""``outlier-matching``: train and evaluate networks that match images across domains, and look images up with them."""

try:
    from efficiency_core.command import CONTINUES, Command, Program
except ModuleNotFoundError as error:
    raise SystemExit(f'outlier-matching needs {error.name}: pip install "outlier_matching[train]"') from None


def _command(name: str, summary: str, extra: str = "train", interrupted: str = "nothing was written") -> Command:
    room = "outlier_matching.commands"
    options = f"{room}.options:{name.capitalize()}Options"
    return Command(summary, options, f"{room}.{name}:run", device=True, extra=extra, interrupted=interrupted)


program = Program(
    "outlier-matching",
    "Match images across two domains while outliers are present.",
    {
        "train": _command("train", "train a network on two domains", interrupted=CONTINUES),
        "evaluate": _command("evaluate", "compute mean average precision and outlier detection on two domains"),
        "match": _command("match", "look up the images of a folder in another folder", "match"),
    },
    package="outlier_matching",
)
main, command = program.main, program.command
