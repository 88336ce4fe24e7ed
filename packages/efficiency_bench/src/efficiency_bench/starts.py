"""Runs that start from the network of another run: finding it, and making sure that it is the right one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UsageError
from .experiments import Experiment
from .plan import start_settings
from .records import load_record
from .settings import settings_to_json

NETWORK = "network.pt"
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

    def to_protocol(self) -> dict[str, Any]:
        """What the record of a run that starts from it says of it."""
        return {"start": {"run_id": self.run_id, "network_sha256": self.digest}}


def find_start(experiment: Experiment, settings: Any, seed: int, record: Path | None) -> Found | None:
    """The network that a run of ``experiment`` starts from; None where it starts from none.

    Args:
        experiment: the run's experiment.
        settings: its settings.
        seed: its seed, which the other run must share.
        record: the other run's record; its network lies in the folder of the same name.

    Raises:
        UsageError: a record is given where none is wanted, or the other way round; it is another run's than the one the
            settings ask for; or its network is not there any more.
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
    expected = settings_to_json(start_settings(wanted, f"start of {experiment.name}"))
    if (found.experiment, found.seed) != (wanted.experiment, seed):
        raise UsageError(f"--start {record}: expected {what}, got one of {found.experiment} with seed {found.seed}")
    if odd := sorted(name for name in expected if found.settings.get(name) != expected[name]):
        raise UsageError(
            f"--start {record}: {odd[0]} is {found.settings.get(odd[0])!r}, these settings ask for {expected[odd[0]]!r}"
        )
    network = record.with_suffix("") / NETWORK
    if not network.is_file() and found.absent:
        return Found(found.run_id, None, "", next(iter(found.absent.values())))
    if not network.is_file():
        raise UsageError(f"--start {record}: {network} is not there any more; delete the record to train it again")
    return Found(found.run_id, network, hashlib.sha256(network.read_bytes()).hexdigest())
