# What the rules share: the checked config, and the runs that workflows/tables, workflows/figures and the preset ask for.
import json
import os
import re
import sys
from pathlib import Path

from efficiency_bench import experiments
from efficiency_bench.data_sets import (
    choose_variants,
    load_data_sets,
    with_real_settings,
)
from efficiency_bench.devices import resolve_device
from efficiency_bench.documents import check_document
from efficiency_bench.errors import UsageError
from efficiency_bench.figures import figure_runs, find_figures
from efficiency_bench.plan import runs_needed, with_starts
from efficiency_bench.presets import check_targets, find_preset
from efficiency_bench.settings import format_assignments
from efficiency_bench.sources import imported_modules
from efficiency_bench.tables import find_tables


def stop(message):
    """End with one line and the exit status of wrong usage."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def package_folders():
    """Import name -> source folder of every package of this repository."""
    found = [*Path("packages").glob("*/src/*"), *Path("datasets").glob("src/*")]
    return {path.name: path for path in found if (path / "py.typed").exists()}


def package_digest(package):
    return f"{RESULTS}/.src/{package}.sha256"


def run_named(run_id):
    if run_id not in RUNS:
        stop(f"no table or figure needs the run {run_id} with preset {PRESET.name}")
    return RUNS[run_id]


def run_id_pattern(kind):
    """A pattern of the run ids of every experiment of `kind`."""
    names = [name for name in experiments.names() if experiments.get(name).kind == kind]
    return rf"({'|'.join(names)})-[0-9a-f]{{8}}-s\d+"


def run_sources(run):
    """What a change of code must touch to repeat a run: packages by digest, files of the bench by themselves."""
    bench = PACKAGES["efficiency_bench"].parent
    files = []
    for module in imported_modules(experiments.get(run.experiment).function):
        package = module.partition(".")[0]
        if package == "efficiency_bench":
            files.append(bench / f"{module.replace('.', '/')}.py")
        elif package in PACKAGES:
            files.append(package_digest(package))
    return sorted(
        {str(file) for file in files if str(file).endswith(".sha256") or file.exists()}
    )


def run_data(run):
    return [
        f"{DATA}/{folder}/{file}"
        for folder in run.data.values()
        for file in FOLDERS[folder].files
    ]


def run_options(run):
    """The options of `effbench run|measure` that make the run what its id says."""
    settings = [
        text for assignment in run.assignments for text in ("--set", assignment)
    ]
    data = [
        text
        for name, folder in run.data.items()
        for text in ("--data", f"{name}={DATA}/{folder}")
    ]
    images = [
        text
        for name, folder in run.data.items()
        for file, root in FOLDERS[folder].roots.items()
        for text in ("--images", f"{name}/{file.partition('.')[0]}={root}")
    ]
    start = ["--start", record_of(run.start)] if run.start else []
    return [*settings, *data, *images, *start, "--seed", str(run.seed)]


def record_of(run):
    return f"{RESULTS}/runs/{run.run_id}.json"


def run_start(run):
    """The record of the run whose network this one starts from."""
    return [record_of(run.start)] if run.start else []


def index_options(how):
    """The options of `effbench index` that say which split it looks through, and how."""
    options = [
        text
        for assignment in format_assignments(how.options)
        for text in ("--set", assignment)
    ]
    folds = [
        text
        for fold in how.folds
        for assignment in format_assignments(fold)
        for text in ("--fold", assignment)
    ]
    called = [
        text
        for option, value in (("--name", how.name), ("--source", how.source))
        if value
        for text in (option, value)
    ]
    return [
        *("--package", how.package, "--split", how.split),
        *called,
        *options,
        *folds,
    ]


def folder_options(names):
    """The options of `effbench tabulate|plot` that say where the data sets lie."""
    return [
        text
        for name in names
        for text in ("--data", f"{name}={DATA}/{VARIANTS[name].folder}")
    ]


def one_of(names):
    """A pattern of these names, which may be none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def table_named(name):
    if name not in TABLES:
        stop(f"no {name} in workflows/tables; there are {', '.join(TABLES)}")
    return TABLES[name]


def table_records(name):
    return [
        record_of(run) for run in runs_needed([table_named(name)], PRESET, DATA_FOLDERS)
    ]


def figure_named(name):
    if name not in FIGURES:
        stop(f"no {name} in workflows/figures; there are {', '.join(FIGURES)}")
    return FIGURES[name]


def figure_records(name):
    return [
        record_of(run)
        for run in figure_runs([figure_named(name)], PRESET, DATA_FOLDERS)
    ]


DATA = "data"
PACKAGES = package_folders()

for key, default in {
    "preset": "quick",
    "data_root": os.environ.get("EFFICIENCY_DATA"),
    "device": "auto",
    "results": "results",
    "mix_devices": False,
}.items():
    config.setdefault(key, default)
config["data_root"] = config["data_root"] or ""

try:
    schema = json.loads(
        Path("workflows/schemas/config.schema.json").read_text(encoding="utf-8")
    )
    check_document(config, schema, "--config")
    DATA_SETS = load_data_sets(Path("workflows/data.yaml"))
    PRESET = with_real_settings(
        find_preset(Path("workflows/config"), config["preset"]), DATA_SETS
    )
    TABLES = find_tables(Path("workflows/tables"))
    FIGURES = find_figures(Path("workflows/figures"))
    check_targets(PRESET, [*TABLES, *FIGURES])
    if config["data_root"] and not Path(config["data_root"]).is_dir():
        raise UsageError(
            f"data_root: {config['data_root']} is no folder; name one that exists, or none"
        )
    VARIANTS = choose_variants(DATA_SETS, PRESET, config["data_root"])
    FOLDERS = {variant.folder: variant for variant in VARIANTS.values()}
    DATA_FOLDERS = {name: variant.folder for name, variant in VARIANTS.items()}
    RUNS = {
        run.run_id: run
        for run in with_starts(
            [
                *runs_needed(TABLES.values(), PRESET, DATA_FOLDERS),
                *figure_runs(FIGURES.values(), PRESET, DATA_FOLDERS),
            ]
        )
    }
except UsageError as error:
    stop(error)

# The commands read the variable; as a parameter of a job, another place of the same data would repeat the job.
os.environ.update(EFFICIENCY_DATA=config["data_root"])
RESULTS = config["results"].rstrip("/")
GPUS = int(
    config["device"] == "cuda"
    or (config["device"] == "auto" and resolve_device("auto").type == "cuda")
)
