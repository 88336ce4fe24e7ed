"""A console command of subcommands, each with a frozen dataclass of options, imported when that subcommand is called."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import logging
import os
import pkgutil
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

from efficiency_core.devices import resolve_device
from efficiency_core.errors import Stopped, UsageError, WorkError
from efficiency_core.processes import end_with_owner, stoppable
from efficiency_core.settings import nearest

CONTINUES = "the same command continues a training from its last checkpoint"
"""What a training says where the keyboard interrupts it (:attr:`Command.interrupted`)."""


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    summary: str
    """A sentence for the help, without full stop."""
    options: str | type[Any]
    """Frozen dataclass of its options, or where it is: "package.module:Class"."""
    run: str | Callable[..., int | None]
    """Function of the options, and of the device (``cpu`` or ``cuda``) if ``device``, or where it is: "package.module:function".
    It returns the exit status; None is 0."""
    device: bool = False
    """Whether it has ``--device``."""
    extra: str = "train"
    """The extra of the package that brings what it imports."""
    interrupted: str = "nothing was written"
    """What is said where the keyboard or a signal ends it."""


@dataclass(frozen=True)
class Group:
    """Subcommands under a common word, as ``synthdata build NAME``."""

    summary: str
    commands: Mapping[str, Command | Group]
    """Word on the command line -> what it starts."""


@dataclass(frozen=True)
class Program:
    """A console command. ``cli.py`` has ``main, command = program.main, program.command``; ``command`` is the console script."""

    name: str
    """What is typed: ``full-video``."""
    description: str
    """A sentence for the help."""
    commands: Mapping[str, Command | Group]
    package: str
    """The distribution, for ``--version`` and the advice to install an extra."""
    flush_denormal: bool = False
    """Whether the console script tells torch to take numbers below 1e-38 for 0 in subcommands with ``--device``. They cost a
    CPU a hundred times the time of others, and are nothing to a network."""

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Run with ``arguments`` (None: those of the process) and exit: 0 done, 1 the work failed, 2 wrong usage or unusable
        input, 129 or 143 ended by SIGHUP or SIGTERM, 130 interrupted from the keyboard, 141 the reader of the output has gone."""
        sys.exit(self._start(sys.argv[1:] if arguments is None else list(arguments), alone=False))

    def command(self) -> NoReturn:
        """:meth:`main` in a process that is its own: the console script. It ends with its owner, where it has one."""
        end_with_owner()
        sys.exit(self._start(sys.argv[1:], alone=True))

    def _start(self, arguments: list[str], alone: bool) -> int:
        command = None
        try:
            words, command, rest = self._choose(arguments)
            status = 0
            if command is not None:
                with stoppable():
                    status = _run(" ".join(words), command, rest, alone, alone and self.flush_denormal) or 0
            sys.stdout.flush()  # here, where a reader that has gone is still told from other errors
            return status
        except (Exception, KeyboardInterrupt, Stopped) as error:
            ended = _ending(error, command, self.package)
            if ended is None:
                raise
            status, message = ended
            if "--debug" in arguments:
                traceback.print_exc()
            if message:
                print(f"error: {message}", file=sys.stderr)
            return status

    def _choose(self, arguments: list[str]) -> tuple[list[str], Command | None, list[str]]:
        """The words up to the subcommand, the subcommand (None after help or version), and the arguments behind it."""
        chosen: Program | Group | Command = self
        words, rest = [self.name], list(arguments)
        while not isinstance(chosen, Command):
            word = rest.pop(0) if rest else ""
            if word in ("-h", "--help"):
                print(_overview(" ".join(words), chosen))
                return words, None, rest
            if word == "--version" and chosen is self:
                print(f"{self.name} {importlib.metadata.version(self.package)}")
                return words, None, rest
            if word not in chosen.commands:
                meant = nearest(word, chosen.commands)
                known = f"did you mean {meant}?" if meant else f"there are {', '.join(chosen.commands)}"
                start = f"{word!r} is no command of" if word else "expected a command after"
                raise UsageError(f"{start} {' '.join(words)}; {known}")
            chosen = chosen.commands[word]
            words.append(word)
        return words, chosen, rest


def _run(prog: str, command: Command, arguments: list[str], alone: bool, flush_denormal: bool) -> int | None:
    from efficiency_core.command.options import parse_options
    from efficiency_core.command.outputs import check_outputs

    parsed = parse_options(_load(command.options), prog, command.summary, arguments, device=command.device)
    if parsed is None:
        return 0
    options, common = parsed
    check_outputs(options, common.settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Notices of libraries about themselves, which nobody who runs a command can act on.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if not command.device:
        return _load(command.run)(options)  # type: ignore[no-any-return]
    if flush_denormal:
        import torch

        # Before the first work of torch: its threads have the mode of the one that starts them.
        torch.set_flush_denormal(True)
    from efficiency_core.memory import freed_memory_kept

    function = _load(command.run)
    with freed_memory_kept() if alone else nullcontext():
        return function(options, resolve_device(common.device))  # type: ignore[no-any-return]


def _load(place: Any) -> Any:
    return pkgutil.resolve_name(place) if isinstance(place, str) else place


def _overview(prog: str, chosen: Program | Group) -> str:
    top = isinstance(chosen, Program)
    width = max(map(len, chosen.commands))
    return "\n".join([
        f"usage: {prog} [-h]{' [--version]' if top else ''} COMMAND ...",
        "",
        chosen.description if isinstance(chosen, Program) else chosen.summary,
        "",
        "commands:",
        *(f"  {word:{width}}  {command.summary}" for word, command in chosen.commands.items()),
        "",
        f"`{prog} COMMAND --help` shows the settings of a command.",
    ])  # fmt: skip


def _ending(error: BaseException, command: Command | None, package: str) -> tuple[int, str] | None:
    """Exit status and message of an error; None where it is a mistake of the program, which the traceback shows best."""
    torch = sys.modules.get("torch")
    if isinstance(error, UsageError):
        return 2, str(error)
    if isinstance(error, WorkError):
        return 1, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted; {command.interrupted}" if command else "interrupted"
    if isinstance(error, Stopped) and command is not None:
        return 128 + error.args[0], f"ended by {signal.Signals(error.args[0]).name}; {command.interrupted}"
    if isinstance(error, ModuleNotFoundError) and command is not None:
        missing = (error.name or "").partition(".")[0]
        ours = missing in ("", package, "efficiency_core") or missing in sys.stdlib_module_names
        if ours or importlib.util.find_spec(missing) is not None:
            return None
        if command.extra:
            return 2, f'this command needs {missing}: pip install "{package}[{command.extra}]"'
        return (
            2,
            f"this command needs {missing}, which comes with {package}; install {package} again, or pip install {missing}",
        )
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        said = ". ".join(str(error).split(". ")[:2]) or "not enough memory"
        return 1, f"{said}; a smaller batch or image size needs less"
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        return 141, ""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return 1, f"{error.filename}: {error.strerror}"
    return None


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more. What is written to it from here on goes nowhere."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), 0)
        gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
    except io.UnsupportedOperation:  # no file, as in a test
        return False
    if gone:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the interpreter flushes it at its end
    return gone
