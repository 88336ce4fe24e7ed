"""What a training says about itself: ``metrics.csv``, TensorBoard events, a progress bar and lines of the log."""

import csv
import logging
import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tqdm import tqdm

from efficiency_core.files import atomic_path, writing
from efficiency_core.loop.config import LoopConfig
from efficiency_core.loop.loss_history import LossHistory
from efficiency_core.loop.task import Task

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_LOOKS = 1.0
_log = logging.getLogger(__name__)


class RunLog:
    """The records of a training in ``folder/metrics.csv`` and ``folder/tensorboard``, and what its user sees.

    A row has the means over the steps since the row before. There is one every ``log_every`` steps, at the end of an epoch,
    at a validation and after the last step. Rows of steps that a continued training takes again are dropped: from the table
    at once, from the events by TensorBoard, which a ``SessionLog.START`` tells so.

    The log has a line at the start, then every ten seconds, also during a long step.

    ``continued`` is the step that the training continues from, None where it begins.

    Raises:
        WorkError: if a file cannot be written.
    """

    def __init__(
        self, folder: Path, task: Task[Any], config: LoopConfig, losses: LossHistory, continued: int | None
    ) -> None:
        self._task, self._losses = task, losses
        self._every = [config.log_every, task.epoch_steps]
        measures = [f"validation_{task.validation}"] if task.validation else []
        if measures and config.validate_every:
            self._every.append(config.validate_every)
        self._columns = ["step", "epoch", "learning_rate", *task.loss_names, "seconds", *measures]
        self._due: list[tuple[int, float, float | None]] = []
        start = continued or 0
        self._step = start
        self._ended = self._said = self._heard = time.perf_counter()
        # The last row of a training that was shorter than it is now may cover fewer steps than a row does.
        kept = start if self._has_row(start) else start - 1
        self._path = folder / "metrics.csv"
        rows = [] if continued is None else self._rows(kept)
        with atomic_path(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        with writing(self._path):
            self._file = self._path.open("a", newline="", encoding="utf-8")
            (folder / "tensorboard").mkdir(exist_ok=True)
            # Files are read in the order of their names: of two starts in one second, the later step is the later file.
            self._events = EventsWriter(str(folder / "tensorboard" / "events"), f".{start:09d}")
        self._table = csv.writer(self._file, lineterminator="\n")
        self._event(kept + 1, session_log=SessionLog(status=SessionLog.START))
        shown = sys.stderr.isatty()
        self._bar = tqdm(total=task.total, initial=start, unit="step", disable=not shown, leave=False, delay=2)
        _log.info(
            "training: step %d/%d, %d steps an epoch, batches of %d",
            start,
            task.total,
            task.epoch_steps,
            task.batch_size,
        )
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._say_running, name="run_log", daemon=True)
        self._watch.start()

    def took(self, step: int, seconds: float, measure: float | None, last: bool) -> None:
        """Record that ``step`` steps took ``seconds``, with the measure of a validation, and whether they are the last."""
        self._bar.update()
        self._step, self._ended = step, time.perf_counter()
        if last or self._has_row(step):
            self._due.append((step, seconds, measure))
        if self._due and len(self._losses.rows) == step:
            self._write_rows()
        over = last or step % self._task.epoch_steps == 0
        if over or self._ended - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = self._heard = self._ended
            self._say(step, seconds, measure, last)

    def flush(self) -> None:
        """Bring all rows to the files; all losses must be looked at."""
        self._write_rows()
        with writing(self._path):
            self._file.flush()
            self._events.flush()

    def close(self) -> None:
        self._closed.set()
        self._watch.join()
        self._bar.close()
        self._file.close()
        self._events.close()

    def _has_row(self, step: int) -> bool:
        return any(step % every == 0 for every in self._every)

    def _write_rows(self) -> None:
        due, self._due = self._due, []
        for step, seconds, measure in due:
            first = max((step - 1) // every * every for every in self._every)
            values = {
                "epoch": (step - 1) // self._task.epoch_steps + 1,
                "learning_rate": self._task.rate(step - 1, self._task.total),
                **dict(zip(self._task.loss_names, self._losses.mean(first, step), strict=True)),
                "seconds": round(seconds, 3),
                **({} if measure is None else {self._columns[-1]: measure}),
            }
            cells = {name: value for name, value in values.items() if not math.isnan(value)}
            self._event(step, summary=Summary(value=[
                Summary.Value(tag=name, simple_value=value) for name, value in cells.items()
                if name not in ("epoch", "seconds")
            ]))  # fmt: skip
            with writing(self._path):
                self._table.writerow([step, *(cells.get(name, "") for name in self._columns[1:])])

    def _event(self, step: int, **content: Any) -> None:
        with writing(self._path):
            self._events.write_event(Event(wall_time=time.time(), step=step, **content))

    def _say(self, step: int, seconds: float, measure: float | None, last: bool) -> None:
        task, losses = self._task, self._losses
        epoch = (step - 1) // task.epoch_steps
        known = len(losses.rows) > epoch * task.epoch_steps
        parts = [losses.text(losses.epoch(epoch))] if known else []
        parts += [] if measure is None else [f"validation {task.validation} {measure:.4f}"]
        parts += [task.note()] if task.note() else []
        _log.info(
            "epoch %d/%d  step %d/%d  %s  (%.3g steps/s, %d s left)",
            epoch + 1, math.ceil(task.total / task.epoch_steps), step, task.total, "  ".join(parts), step / seconds,
            0 if last else math.ceil((task.total - step) * seconds / step),
        )  # fmt: skip

    def _say_running(self) -> None:
        """A line every ten seconds while a step runs, until the training is over; lines with losses follow at its end."""
        while not self._closed.wait(_SECONDS_BETWEEN_LOOKS):
            now = time.perf_counter()
            running = now - self._ended
            long = running >= _SECONDS_BETWEEN_LINES / 2 and now - self._heard >= _SECONDS_BETWEEN_LINES
            if long and self._step < self._task.total:
                self._heard = now
                _log.info("step %d/%d has been running for %d s", self._step + 1, self._task.total, running)

    def _rows(self, kept: int) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) <= kept]
