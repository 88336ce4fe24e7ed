"""What Snakemake must be told of a build: which results are old, who else builds in the folder, and why a job failed."""

import atexit
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path, locked

_FAILED_LOG = re.compile(r"^Error in (?s:.*?)^    log: (.+?)(?: \(check log file\(s\).*)?$", re.MULTILINE)


def note(path: Path, text: str) -> None:
    """Write `text` to `path`, unless the file says so already: its time tells Snakemake what is old."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def note_plan(path: Path, text: str, records: Iterable[Path]) -> None:
    """Note in `path` what a table or figure rests on. It changes also where one of the `records` is missing: Snakemake does not
    miss a record that was deleted while what was made of it is there."""
    if not all(record.exists() for record in records):
        note(path, f"{text}a record was missing at {time.time()}\n")
    elif not path.exists() or not path.read_text(encoding="utf-8").startswith(text):
        note(path, text)


def note_device(path: Path, device: str, record: Path) -> None:
    """Note in `path` that a run is wanted on `device`, "cpu" or "cuda". A `record` of that device is not old by it."""
    if path.exists() and path.read_text(encoding="utf-8") == device:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(device, encoding="utf-8")
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        found = facts["device"]["type"]
    except (OSError, ValueError, LookupError, TypeError):  # no record, or one that is read and refused later
        return
    if found == device:
        os.utime(path, (0, 0))


def hold(folder: Path) -> str:
    """Keep other builds out of `folder` until this process ends. Returns what is wrong where one works there, else "".

    Snakemake's own lock stays where a build is killed, and would keep out every later one: it is removed where the system says
    that the process which held this lock is gone.

    Raises:
        WorkError: `folder` cannot be written.
    """
    lock = folder / ".snakemake" / ".lock"
    killed = lock.exists()
    held = ExitStack()
    try:
        real = held.enter_context(locked(folder, lock))
    except UsageError as error:
        return str(error)
    atexit.register(held.close)
    if killed and real:
        shutil.rmtree(lock.with_name("locks"), ignore_errors=True)
    return ""


def failures(log: Path) -> list[str]:
    """Why the jobs failed of which Snakemake's `log` says so: the last line of each one's own log, with that log's name."""
    said = []
    names = _FAILED_LOG.findall(log.read_text(encoding="utf-8", errors="replace"))
    for name in dict.fromkeys(name.partition(", ")[0] for name in names):  # a cluster adds its own log
        file = Path(name)
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
        last = next((line for line in reversed(lines) if line.strip()), "says nothing; was the job killed?")
        said.append(f"{file}: {last}")
    return said
