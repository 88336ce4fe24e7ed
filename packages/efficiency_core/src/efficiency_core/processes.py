"""How processes end: a command on a signal or with its owner, a worker with the process that has started it."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from efficiency_core.errors import Stopped

OWNER = "EFFICIENCY_OWNER"
"""Environment variable: the process on this machine that wants the results of commands, which end when it ends."""
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as an error does, with :class:`~efficiency_core.errors.Stopped`.

    Signals that the process ignores or handles already keep their effect; so do all outside the main thread. Python drops an
    error that is raised while an object is being deleted; the signal, also that of Ctrl-C, is then sent again.
    """
    last = -1.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if (
            before < 0 or last - before > 1
        ):  # `timeout` sends the signal twice, and the second would end the cleaning up
            raise Stopped(number)

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        nonlocal last
        if isinstance(what.exc_value, Stopped):
            last, number = -1.0, what.exc_value.args[0]
        elif isinstance(what.exc_value, KeyboardInterrupt):
            number = signal.SIGINT
        else:
            hook(what)
            return
        again = threading.Timer(0.05, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    here = threading.current_thread() is threading.main_thread()
    taken = [number for number in _SIGNALS if here and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, stop)
    hook = sys.unraisablehook
    if taken:
        sys.unraisablehook = dropped
    try:
        yield
    finally:
        if taken:
            sys.unraisablehook = hook
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def as_worker() -> None:
    """Make this process a worker: it ends with the process that has started it, and Ctrl-C, which reaches every process, does not
    interrupt it. Signals that :func:`stoppable` has taken end it at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _SIGNALS:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    end_with(os.getppid())


def end_with(parent: int) -> None:
    """End this process, with status 1, when its parent, the process ``parent``, has ended, however it did."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_with_owner() -> None:
    """End this process, with status 1, when the process that the variable ``EFFICIENCY_OWNER`` names has ended. What is half
    done stays as after ``kill -9``: the next start of the same command takes over."""
    owner = os.environ.get(OWNER, "")
    if not owner.isdecimal():
        return

    def watch() -> None:
        if hasattr(os, "pidfd_open"):
            try:
                ended = select.poll()
                ended.register(os.pidfd_open(int(owner)), select.POLLIN)
                ended.poll()
            except ProcessLookupError:
                pass
        else:
            while alive(int(owner)):
                time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def alive(process: int) -> bool:
    """Whether there is a process of this number on this machine; True where the system cannot tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
