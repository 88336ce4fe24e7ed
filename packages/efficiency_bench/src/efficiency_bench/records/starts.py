"""Runs that start from the network of another run: finding it, and making sure that it is the right one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficiency_bench.experiments import Experiment, recorded
from efficiency_bench.records.run_record import difference, load_record
from efficiency_bench.workflow.plan import start_settings
from efficiency_core.errors import UsageError
from efficiency_core.files import file_sha256

NETWORK = "network.safetensors"
"""What a training leaves in its folder."""


@dataclass(frozen=True)
class Found:
    """A network to start from."""

    run_id: str
    """The run that trained it."""
    network: Path | None
    """Its file; None where the run diverged and left none, which its record says."""
    digest: str
    """sha256 of the file; empty without."""
    absent: str = ""
    """Why there is none."""


def find_start(experiment: Experiment, settings: Any, seed: int, record: Path | None) -> Found | None:
    """The network that a run of ``experiment`` starts from; None where it starts from none.

    The other run, of the same seed, has the record ``record``, and its network in the folder of the same name. A
    `UsageError` if a record is given where none is wanted, or the other way round; if it is another run's than the
    one the settings ask for; or if its network is not there any more.
    """
    wanted = experiment.start(settings)
    if wanted is None:
        if record is not None:
            raise UsageError(f"--start {record}: with these settings {experiment.name} starts from no other run")
        return None
    what = f"a run of {wanted.experiment} with seed {seed}"
    if record is None:
        raise UsageError(
            f"with these settings {experiment.name} starts from the network of {what}: give its record with --start "
            "(snakemake does, and trains it first)"
        )
    found = load_record(record)
    expected = recorded(start_settings(wanted, f"start of {experiment.name}"))
    if (found.experiment, found.seed) != (wanted.experiment, seed):
        raise UsageError(f"--start {record}: expected {what}, got one of {found.experiment} with seed {found.seed}")
    if odd := difference(expected, found.settings):
        raise UsageError(f"--start {record}: {odd}")
    network = record.with_suffix("") / NETWORK
    if not network.is_file() and found.absent:
        return Found(found.run_id, None, "", next(iter(found.absent.values())))
    if not network.is_file():
        raise UsageError(f"--start {record}: {network} is not there any more; delete the record to train it again")
    return Found(found.run_id, network, file_sha256(network))
