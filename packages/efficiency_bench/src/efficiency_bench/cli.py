"""`effbench`: run experiments, measure, and turn run records into tables."""

import argparse
import json
import logging
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import torch

from . import experiments
from .artifacts import write_artifacts
from .data_files import data_facts
from .devices import describe_device, resolve_device
from .errors import UsageError
from .files import write_json
from .index import Package, content_name, make_index
from .presets import Preset, load_preset
from .provenance import git_state, package_versions, source_digest
from .records import RunRecord, run_id
from .settings import build_settings, parse_assignments, settings_to_json
from .sources import imported_modules
from .starts import find_start
from .tables import load_table


def command() -> None:
    """The console script: `main` in a process that is its own."""
    # Before the first work of torch: its threads have the mode of the one that starts them. Numbers below 1e-38 cost a CPU
    # a hundred times the time of others, and are nothing to a network.
    torch.set_flush_denormal(True)
    main()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command; exits with 0 (done), 1 (the work failed) or 2 (wrong usage or input)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Notices of libraries about themselves, which nobody who runs a command can act on.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        options.function(options)
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        # The method packages have errors of the same two names; they know nothing of the bench's classes.
        kind = {cls.__name__ for cls in type(error).__mro__}
        if not kind & {"UsageError", "WorkError", "InputError"}:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1 if "WorkError" in kind else 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="effbench", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for name, kind, text in (
        ("run", "train", "train and evaluate; continues a run that was stopped"),
        ("measure", "measure", "time and count; wants the machine for itself"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("experiment", help=f"an experiment of kind '{kind}' (see effbench list)")
        command.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated"
        )
        command.add_argument(
            "--data",
            action="append",
            default=[],
            metavar="NAME=DIR",
            help="folder of a data set; may be repeated",
        )
        command.add_argument(
            "--images",
            action="append",
            default=[],
            metavar="NAME[/STEM]=DIR",
            help="folder of the images or videos that a data set's files name, or its file STEM.json or STEM.index.json "
            "alone; absolute or under the EFFICIENCY_DATA folder (default: the data set's own)",
        )
        command.add_argument(
            "--start",
            type=Path,
            metavar="RUN.json",
            help="record of the run whose network this one starts from, which lies in the folder RUN, where the settings ask "
            "for one",
        )
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
        command.add_argument(
            "--preset", default="custom", help="name of the preset the settings come from, for the record"
        )
        command.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the run record to write")
        command.set_defaults(function=_run, kind=kind)

    for name, what, out, text, function in (
        ("tabulate", "table", "FILE.csv", "compute a table from run records", _tabulate),
        ("plot", "figure", "FILE.svg", "draw a figure from run records; FILE.png and FILE.csv go beside it", _plot),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(what, type=Path, help=f"workflows/{what}s/{'fig' if what == 'figure' else what}C_N.yaml")
        command.add_argument("--preset-file", type=Path, required=True, metavar="FILE.yaml")
        command.add_argument(
            "--data-sets",
            type=Path,
            metavar="FILE.yaml",
            help="workflows/data.yaml; needed where a run read a real data set, which brings settings of its own",
        )
        command.add_argument("--runs", type=Path, required=True, metavar="DIR", help="folder of the run records")
        command.add_argument("--data", action="append", default=[], metavar="NAME=DIR", help="folder of a data set")
        command.add_argument(
            "--allow-missing", action="store_true", help="leave out what runs that are not there measure"
        )
        command.add_argument("--mix-devices", action="store_true", help="allow runs of several devices in one row")
        command.add_argument("--out", type=Path, required=True, metavar=out)
        command.set_defaults(function=function)

    command = commands.add_parser(
        "index",
        help="say what a data set holds that is read in its own layout",
        description="say what a data set of videos or images holds that is read in its own layout",
    )
    command.add_argument("format", help="a format of the package, ucf101 for example")
    command.add_argument(
        "--package", choices=get_args(Package), default="full_video", help="which reads it (default: full_video)"
    )
    command.add_argument("root", type=Path, help="the data set's folder")
    command.add_argument("--split", required=True, help="the split's name in that format")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the format")
    command.add_argument(
        "--fold",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of one fold; once for each fold, a run with seed s reads fold s modulo their number",
    )
    command.add_argument("--name", default="", help="what records call the set (default: what the package calls it)")
    command.add_argument("--source", default="", help="what records call its form (default: the format)")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.index.json")
    command.set_defaults(function=_index)

    command = commands.add_parser("digest", help="print the sha256 of a package's source")
    command.add_argument("package")
    command.set_defaults(function=lambda options: print(source_digest(options.package)))

    command = commands.add_parser("list", help="list the experiments and their settings")
    command.set_defaults(function=_list)

    for command in {id(c): c for c in commands.choices.values()}.values():
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _run(options: argparse.Namespace) -> None:
    experiment = experiments.get(options.experiment)
    if experiment.kind != options.kind:
        other = "run" if experiment.kind == "train" else "measure"
        raise UsageError(f"{experiment.name} is an experiment of kind {experiment.kind!r}: use effbench {other}")
    settings = build_settings(experiment.settings_type, parse_assignments(options.set), "--set")
    data = _data_folders(options.data, experiment.data)
    device = resolve_device(options.device)
    every = settings_to_json(settings)
    start = find_start(experiment, settings, options.seed, options.start)
    read = {name: folder.name for name, folder in data.items()}
    identity = run_id(experiment.name, every, {**read, **({"start": start.run_id} if start else {})}, options.seed)

    images = _image_folders(options.images, experiment.data)
    facts = {name: data_facts(name, folder) for name, folder in data.items()}
    sources = {package: source_digest(package) for package in _packages(experiment)}
    folder = options.out.with_suffix("")
    rests_on = {name: fact["digest"] for name, fact in facts.items()} | ({"start": start.digest} if start else {})
    _drop_stale_work(folder, sources, rests_on)
    begin = (start.network, start.absent) if start else (None, "")
    context = experiments.Context(data, device, options.seed, folder, images, *begin)
    started, clock = datetime.now(UTC), time.perf_counter()
    outcome = experiment.function(settings, context)
    duration = round(time.perf_counter() - clock, 3)
    # Before the record, which alone says that the run is done.
    handed_over = write_artifacts(options.out, outcome.artifacts)
    record = RunRecord(
        run_id=identity,
        experiment=experiment.name,
        kind=experiment.kind,
        preset=options.preset,
        settings=every,
        seed=options.seed,
        metrics=outcome.metrics,
        protocol={**outcome.protocol, **handed_over, **(start.to_protocol() if start else {})},
        data=facts,
        packages=package_versions(),
        sources=sources,
        git=git_state(Path(__file__)),
        device=describe_device(device),
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration_s=duration,
        absent=outcome.absent,
    )
    write_json(options.out, record.to_json())
    for name, metric in record.metrics.items():
        print(f"{name:28s} {metric.value:.4f} {metric.unit}")
    for name, reason in record.absent.items():
        print(f"{name:28s} none: {reason}")


def _drop_stale_work(folder: Path, sources: dict[str, str], data: dict[str, str]) -> None:
    """Remove what an earlier start left in ``folder`` if it was made by other source code of the method, or of other data.

    A checkpoint of old code under a record of new code would be a lie. The bench's own source does not count: it trains
    nothing. ``data`` is the digest of each data set; runs begun before these were noted have none to compare.
    """
    method = {package: digest for package, digest in sources.items() if package != "efficiency_bench"}
    note, data_note = folder / "sources.json", folder / "data.json"
    if note.exists():
        same_source = json.loads(note.read_text(encoding="utf-8")) == method
        if same_source and (not data_note.exists() or json.loads(data_note.read_text(encoding="utf-8")) == data):
            return
        what = "data" if same_source else "source"
        logging.getLogger(__name__).warning("the %s has changed since %s was begun: starting over", what, folder)
        shutil.rmtree(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is where this run would keep its checkpoints, but holds something else: choose another --out"
        )
    if method:
        write_json(note, method)
        write_json(data_note, data)


def _index(options: argparse.Namespace) -> None:
    folds = [parse_assignments([fold]) for fold in options.fold]
    values = parse_assignments(options.set)
    count = make_index(
        options.root,
        options.package,
        options.format,
        options.split,
        values,
        folds,
        options.out,
        name=options.name,
        source=options.source,
    )
    what = content_name(options.package)
    print(f"{count} {what} in {max(len(folds), 1)} fold{'s' if len(folds) > 1 else ''}: {options.out}")


def _tabulate(options: argparse.Namespace) -> None:
    # Imported here: pandas takes a second, and no other command but plot needs it.
    from .tabulate import tabulate, write_table

    folders = _named_folders(options.data)
    frame = tabulate(
        load_table(options.table),
        _preset(options),
        options.runs,
        {name: folder.name for name, folder in folders.items()},
        allow_missing=options.allow_missing,
        mix_devices=options.mix_devices,
    )
    write_table(frame, options.out)
    print(options.out)


def _plot(options: argparse.Namespace) -> None:
    # Imported here: matplotlib takes a second, and no other command draws.
    from .figures import load_figure
    from .plot import plot

    folders = _named_folders(options.data)
    written = plot(
        load_figure(options.figure),
        _preset(options),
        options.runs,
        {name: folder.name for name, folder in folders.items()},
        options.out,
        allow_missing=options.allow_missing,
        mix_devices=options.mix_devices,
    )
    for path in written:
        print(path)


def _preset(options: argparse.Namespace) -> Preset:
    """The preset, with the settings that real data sets bring where --data-sets is given."""
    preset = load_preset(options.preset_file)
    if options.data_sets is None:
        return preset
    # Imported here: it brings the generators.
    from .data_sets import load_data_sets, with_real_settings

    return with_real_settings(preset, load_data_sets(options.data_sets))


def _list(options: argparse.Namespace) -> None:
    for name in experiments.names():
        experiment = experiments.get(name)
        print(f"{name} (kind {experiment.kind}; data: {', '.join(experiment.data) or 'none'})\n  {experiment.summary}")
        for key, value in settings_to_json(experiment.settings_type()).items():
            print(f"    {key} = {json.dumps(value)}")


def _named_folders(assignments: Sequence[str], option: str = "--data") -> dict[str, Path]:
    folders = {}
    for assignment in assignments:
        name, equals, folder = assignment.partition("=")
        if not (name and equals and folder):
            raise UsageError(f"{option}: expected NAME=DIR, got {assignment!r}")
        folders[name] = Path(folder)
    return folders


def _data_folders(assignments: Sequence[str], needed: Sequence[str]) -> dict[str, Path]:
    folders = _named_folders(assignments)
    for name in needed:
        if name not in folders:
            raise UsageError(f"this experiment reads {name}: give its folder with --data {name}=DIR")
        if not folders[name].is_dir():
            raise UsageError(
                f"{folders[name]}: no such folder; `synthdata build {name.replace('_', '-')} --out {folders[name]}` makes "
                "generated data"
            )
    for name in folders:
        if name not in needed:
            raise UsageError(f"--data {name}: this experiment reads {', '.join(needed) or 'no data'}")
    return folders


def _image_folders(assignments: Sequence[str], read: Sequence[str]) -> dict[str, Path]:
    folders = _named_folders(assignments, "--images")
    root = Path(os.environ.get("EFFICIENCY_DATA", ""))
    for name, folder in folders.items():
        if name.partition("/")[0] not in read:
            raise UsageError(f"--images {name}: this experiment reads {', '.join(read) or 'no data'}")
        folders[name] = root / folder  # an absolute folder stays itself
        if not folders[name].is_dir():
            raise UsageError(f"--images {name}: {folders[name]} is no folder; EFFICIENCY_DATA is {str(root)!r}")
    return folders


def _packages(experiment: experiments.Experiment) -> list[str]:
    """The bench and the packages of this project that the experiment imports, for the record."""
    own = {"location_anticipation", "synthetic_datasets", "full_video", "outlier_matching", "weight_align"}
    imported = {module.partition(".")[0] for module in imported_modules(experiment.function)}
    return ["efficiency_bench", *sorted(own & imported)]
