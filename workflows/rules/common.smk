# What the rules share: the checked config, and the runs that workflows/tables, workflows/figures and the preset ask for.
import atexit
import os
import re
import sys
from itertools import chain
from pathlib import Path

try:
    from efficiency_bench import experiments
    from efficiency_bench.experiments.devices import most_devices, with_devices
    from efficiency_bench.figures.definitions import figure_runs, find_figures
    from efficiency_bench.measure.devices import device_here
    from efficiency_bench.records.builds import (
        failures,
        hold,
        note,
        note_device,
        note_plan,
    )
    from efficiency_bench.records.sources import (
        command_sources,
        data_sources,
        digest_files,
        index_sources,
        note_digests,
        room_sources,
        run_sources,
    )
    from efficiency_bench.workflow.cluster import cluster_device
    from efficiency_bench.workflow.config import check_asked, read_config
    from efficiency_bench.workflow.data_sets import (
        choose_variants,
        load_data_sets,
        with_real_settings,
    )
    from efficiency_bench.workflow.plan import runs_needed, with_starts
    from efficiency_bench.workflow.presets import check_targets, find_preset
    from efficiency_bench.workflow.tables import find_tables
    from efficiency_core.errors import UsageError, WorkError
    from efficiency_core.settings import format_assignments
except ModuleNotFoundError as error:
    print(
        f"error: {error.name} is not installed for {sys.executable}; run `make setup` and use .venv/bin/snakemake, or "
        f"pip install -r {workflow.basedir}/requirements.txt",
        file=sys.stderr,
    )
    sys.exit(2)


def stop(message, status=2):
    """End with one line and the exit status of wrong usage, or another."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def run_named(run_id):
    if run_id not in RUNS:
        stop(f"no table or figure needs the run {run_id} with preset {PRESET.name}")
    return RUNS[run_id]


def run_id_pattern(kind):
    """A pattern of the run ids of every experiment of `kind`."""
    names = [name for name in experiments.names() if experiments.get(name).kind == kind]
    return rf"({'|'.join(names)})-[0-9a-f]{{8}}-s\d+"


def run_inputs(run):
    """What repeats a run when it changes: its data, its source code, and the record of the run it starts from."""
    data = [
        f"{DATA}/{folder}/{file}"
        for folder in run.data.values()
        for file in FOLDERS[folder].files
    ]
    start = [record_of(run.start)] if run.start else []
    return [*data, digest_of(run.experiment), device_note(run), *start]


def run_options(run):
    """The options of `effbench run|measure` that make the run what its id says."""
    settings = option_words("--set", run.assignments)
    data = [f"{name}={DATA}/{folder}" for name, folder in run.data.items()]
    images = [
        f"{name}/{file.partition('.')[0]}={root}"
        for name, folder in run.data.items()
        for file, root in FOLDERS[folder].roots.items()
    ]
    start = ["--start", record_of(run.start)] if run.start else []
    return [
        *settings,
        *option_words("--data", data),
        *option_words("--images", images),
        *start,
        *("--seed", str(run.seed)),
    ]


def option_words(option, values):
    """`option` before each of the values."""
    return [word for value in values for word in (option, value)]


def record_of(run):
    return f"{RESULTS}/runs/{run.run_id}.json"


def device_note(run):
    """The file that changes with the device of a run, and is newer than its record where that is of another device."""
    path = f"{RESULTS}/.src/devices/{run.run_id}.txt"
    if not BUSY:
        note_device(Path(path), DEVICE, Path(record_of(run)))
    return path


def plan_of(name, runs):
    """The file that changes with the runs behind a table or figure, with the preset, and with what else a build is asked for."""
    path = f"{RESULTS}/.src/{name}.plan"
    if not BUSY:
        asked = (
            f"preset {PRESET.name}, device {DEVICE}, mix_devices {CONFIG.mix_devices}"
        )
        text = "\n".join([asked, *(run.run_id for run in runs), ""])
        note_plan(Path(path), text, [Path(record_of(run)) for run in runs])
    return path


def digest_of(name):
    """The file that changes with the source code behind `name`: an experiment, or another key of `SOURCES`."""
    return f"{RESULTS}/.src/{name}.sha256"


def index_options(how):
    """The options of `effbench index` that say which split it looks through, and how."""
    folds = [text for fold in how.folds for text in format_assignments(fold)]
    return [
        *("--package", how.package, "--split", how.split),
        *option_words("--name", filter(None, [how.name])),
        *option_words("--source", filter(None, [how.source])),
        *option_words("--set", format_assignments(how.options)),
        *option_words("--fold", folds),
    ]


def result_options():
    """The options of `effbench tabulate|plot`."""
    data = [f"{name}={DATA}/{made.folder}" for name, made in VARIANTS.items()]
    devices = ["--mix-devices"] if CONFIG.mix_devices else []
    return ["--runs", f"{RESULTS}/runs", *option_words("--data", data), *devices]


def one_of(names):
    """A pattern of these names, which may be none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def table_named(name):
    if name not in TABLES:
        stop(f"no {name} in workflows/tables; there are {', '.join(TABLES)}")
    return TABLES[name]


def figure_named(name):
    if name not in FIGURES:
        stop(f"no {name} in workflows/figures; there are {', '.join(FIGURES)}")
    return FIGURES[name]


def records_behind(target):
    """The records of the runs that a table or figure needs."""
    return [record_of(run) for run in TARGETS[target.name]]


def runs_behind(claim):
    """The runs that a claim rests on."""
    if claim not in CLAIM_RUNS:
        stop(f"no {claim} in workflows/claims.yaml; there are {', '.join(CLAIM_RUNS)}")
    return CLAIM_RUNS[claim]


def devices_of(wildcards):
    """Devices of a training: the preset's, or as many as its batch has samples."""
    return most_devices(
        with_devices(run_named(wildcards.run_id).settings, PRESET.devices)
    )


def memory_mb(wildcards, attempt):
    """Main memory of a job on a cluster: 4 GB, and twice as much each time that it is tried again."""
    return 4000 * 2 ** (attempt - 1)


ROOT = Path(os.path.relpath(workflow.basedir))
DATA = "data"
# With `--sdm conda` the environment that holds this repository. Else Snakemake notes what it consists of, and would ask conda,
# which need not be there.
ENVIRONMENT = (
    "efficiency"
    if "conda" in map(str, workflow.deployment_settings.deployment_method)
    else "../../environment.yml"
)

try:
    CONFIG = read_config(config)
    DATA_SETS = load_data_sets(ROOT / "workflows/data.yaml")
    PRESET = with_real_settings(
        find_preset(ROOT / "workflows/config", CONFIG.preset), DATA_SETS
    )
    TABLES = find_tables(ROOT / "workflows/tables")
    FIGURES = find_figures(ROOT / "workflows/figures")
    ROWS = {name: [row.id for row in table.rows] for name, table in TABLES.items()}
    check_targets(PRESET, {**ROWS, **dict.fromkeys(FIGURES, ())})
    VARIANTS = choose_variants(DATA_SETS, PRESET, CONFIG.data_root)
    FOLDERS = {variant.folder: variant for variant in VARIANTS.values()}
    DATA_FOLDERS = {name: variant.folder for name, variant in VARIANTS.items()}
    # Runs of each table and figure.
    TARGETS = {
        **{name: runs_needed([TABLES[name]], PRESET, DATA_FOLDERS) for name in TABLES},
        **{
            name: figure_runs([FIGURES[name]], PRESET, DATA_FOLDERS) for name in FIGURES
        },
    }
    RUNS = {run.run_id: run for run in with_starts(chain(*TARGETS.values()))}
    RESULTS = CONFIG.results
    if workflow.is_main_process:
        # While it reads this file, Snakemake does not know its own targets yet.
        check_asked(sys.argv[1:], RESULTS, [*TABLES, *FIGURES, "claims"])
    find_device = cluster_device if CONFIG.cluster else device_here
    DEVICE = find_device(CONFIG.device)
    # Source code that results rest on: a file for each that changes with it, which is the input of a rule.
    SOURCES = {
        **{
            name: run_sources(experiments.module_of(name))
            for name in sorted({run.experiment for run in RUNS.values()})
        },
        **{
            f"build-{name}": data_sources(name)
            for name in sorted({made.generator for made in FOLDERS.values()} - {""})
        },
        "convert": room_sources("location_anticipation.data.converters"),
        **{
            f"index-{name}": index_sources(name)
            for name in ("full_video", "outlier_matching", "weight_align")
        },
        "tabulate": command_sources("efficiency_bench.workflow.tabulate"),
        "plot": command_sources("efficiency_bench.figures.plot"),
    }
    # Who else builds here; that build goes on with what was noted for it.
    BUSY = hold(Path.cwd()) if workflow.is_main_process else "a job of a build"
    if not BUSY:
        for name, modules in SOURCES.items():
            note_digests(Path(digest_of(name)), modules)
except UsageError as error:
    stop(error)
except WorkError as error:
    mend = (
        "results can go elsewhere: --config results=DIR, or everything: --directory DIR"
    )
    stop(f"{error}; {mend}", status=1)

# The commands read these variables. As a parameter of a job, another place of the same data would repeat the job, and so would
# another preset with the same settings.
os.environ.update(EFFICIENCY_DATA=CONFIG.data_root, EFFICIENCY_PRESET=PRESET.name)
if workflow.is_main_process:
    os.environ.update(EFFICIENCY_OWNER=str(os.getpid()))
    if CONFIG.worker and sys.platform == "linux":
        os.environ.update(EFFBENCH_WORKER=os.path.abspath(f"{RESULTS}/.worker"))
    if BUSY:  # said last, where everybody sees it
        atexit.register(print, BUSY, file=sys.stderr)
elif not workflow.subprocess_exec:  # one job of a cluster stays one run
    for name in ("EFFBENCH_WORKER", "EFFICIENCY_OWNER"):
        os.environ.pop(name, None)
GPUS = int(DEVICE == "cuda")
