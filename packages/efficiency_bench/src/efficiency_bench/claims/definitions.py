"""The file `workflows/claims.yaml`: what the thesis claims, where, and a test over the values of tables and figures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from efficiency_bench.claims.cells import Cell, find_cell
from efficiency_bench.documents import Added, Entry, Expected, Name, Source, Step, Text, load_document
from efficiency_bench.figures.definitions import find_figures
from efficiency_bench.figures.kinds import Figure
from efficiency_bench.workflow.tables import Table, find_tables
from efficiency_core.errors import UsageError
from efficiency_core.settings import nearest

Place = Annotated[
    str,
    Expected(
        "TABLE/ROW/METRIC, FIGURE/POINT/METRIC or FIGURE/PANEL/METRIC OF THE RECORD, such as table2_1/none/keyframe_map"
    ),
]
Places = Annotated[tuple[Place, ...], Expected("a list of TABLE/ROW/METRIC")]
Bound = Annotated[float | None, Expected("a number")]
KindName = Literal["order", "difference", "ratio", "interval", "spread", "gap"]
Basis = Literal["seeds", "cases", "counts", "rounds", "printed"]
NUMBERS: Mapping[KindName, tuple[int, int | None]] = {
    "order": (2, None),
    "difference": (2, 2),
    "ratio": (2, 2),
    "interval": (1, None),
    "spread": (2, None),
    "gap": (4, 4),
}
"""Kind of a test -> the fewest and the most values that it takes."""


@dataclass(frozen=True, kw_only=True)
class Check(Entry):
    """A part of a claim: values, and where a quantity that is computed from them must lie (`comparisons.KINDS`)."""

    kind: Annotated[KindName, Expected(f"one of {', '.join(NUMBERS)}")]
    """What is computed from the values."""
    values: Annotated[Places, Field(min_length=1)]
    """Values in the order that the kind asks for."""
    than: Places = ()
    """Of a `spread`: values whose spread is subtracted; none: the spread itself is judged."""
    at_least: Bound = None
    """Lower end of the range that the quantity must lie in; not given: none."""
    at_most: Bound = None
    """Upper end of that range; not given: none."""
    basis: Annotated[Basis, Expected("seeds, cases, counts, rounds or printed")] = "seeds"
    """Where the spread of the values comes from (`intervals.RULES`); `printed`: the values are those that the thesis prints."""
    absent_as: Bound = None
    """Value of a run that has no number because its training diverged; not given: the seed is left out."""
    cells: Annotated[Mapping[str, Cell], Added] = field(default_factory=dict)
    """Place -> what is measured there."""

    @property
    def measured(self) -> list[Cell]:
        """What records must have for the test; nothing if the values are printed ones."""
        return [] if self.basis == "printed" else list(self.cells.values())


@dataclass(frozen=True, kw_only=True)
class Claim(Entry):
    """A claim of the thesis. It holds where every comparison of all its tests does."""

    id: Name
    """Name of the claim, unique in the file."""
    chapter: Annotated[int, Field(strict=True, ge=1, le=6), Expected("the number of a chapter, 1 to 6")]
    """Chapter of the thesis."""
    claim: Text
    """The claim in this project's words."""
    where: Text
    """Where the thesis makes it."""
    thesis: Text
    """What the thesis reports for it, with numbers."""
    tests: Annotated[tuple[Check, ...], Field(min_length=1), Expected("a list of at least one test")]
    """What must be so for the claim to hold."""

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Names of the tables, texts and figures that its values come from."""
        return tuple(dict.fromkeys(cell.target for test in self.tests for cell in test.cells.values()))

    @property
    def seeds_names(self) -> tuple[str, ...]:
        """What a preset may give seeds of its own: the claim, and each row that is measured for it."""
        return tuple(dict.fromkeys([self.id, *(cell.seeds_name for test in self.tests for cell in test.measured)]))


@dataclass(frozen=True, kw_only=True)
class Claims(Entry):
    """A file of claims."""

    claims: Annotated[tuple[Claim, ...], Field(min_length=1), Expected("a list of at least one claim")]
    """The claims in the order of the thesis."""
    path: Annotated[Path, Added] = Path()
    """File it was read from; tables, figures, presets and data sets lie beside it."""

    @property
    def seeds_names(self) -> tuple[str, ...]:
        """What a preset may give seeds of its own: every claim, and each of their rows."""
        return tuple(name for claim in self.claims for name in claim.seeds_names)

    def only(self, ids: Iterable[str]) -> "Claims":
        """The claims of these ids, in the order of the file; a `UsageError` if there is none of an id."""
        wanted = set(ids)
        if unknown := wanted - {claim.id for claim in self.claims}:
            near = nearest(min(unknown), [claim.id for claim in self.claims])
            meant = f"; did you mean {near}?" if near else ""
            raise UsageError(f"{self.path}: no claim {min(unknown)!r}{meant}")
        return replace(self, claims=tuple(claim for claim in self.claims if claim.id in wanted))


def load_claims(path: Path, targets: Mapping[str, Table | Figure] | None = None) -> Claims:
    """Read and check a file of claims.

    Args:
        path: the file.
        targets: tables and figures by name; None reads those in the folders `tables` and `figures` beside the file.

    Raises:
        UsageError: file, line and claim, what was expected and what came: an unknown key, table, row, metric or kind of test, a
            number of values that the kind does not take, or no range.
    """
    found, source = load_document(path, Claims)
    if targets is None:
        targets = {**find_tables(path.parent / "tables"), **find_figures(path.parent / "figures")}
    claims = []
    for number, claim in enumerate(found.claims):
        steps: tuple[Step, ...] = ("claims", number)
        if claim.id in {other.id for other in found.claims[:number]}:
            raise source.error(steps, "an earlier claim has the same id; give each claim its own")
        tests = []
        for at, test in enumerate(claim.tests):
            place = (*steps, "tests", at)
            _check(test, source, place)
            listed = [("values", n, name) for n, name in enumerate(test.values)]
            listed += [("than", n, name) for n, name in enumerate(test.than)]
            cells = {
                name: replace(find_cell(name, targets, source, (*place, key, n)), claim=claim.id)
                for key, n, name in listed
            }
            _check_cells(test, cells, source, place)
            tests.append(replace(test, cells=cells))
        claims.append(replace(claim, tests=tuple(tests)))
    return replace(found, claims=tuple(claims), path=path)


def _check(test: Check, source: Source, steps: tuple[Step, ...]) -> None:
    fewest, most = NUMBERS[test.kind]
    count = len(test.values)
    if count < fewest or (most is not None and count > most):
        wanted = f"{fewest}" if fewest == most else f"at least {fewest}"
        raise source.error((*steps, "values"), f"{test.kind} takes {wanted} values, got {count}")
    bounded = test.at_least is not None or test.at_most is not None
    if test.kind == "order" and test.at_most is not None:
        raise source.error(steps, "order takes no 'at_most'; 'at_least' is how far neighbours must be apart", "at_most")
    if test.kind != "order" and not bounded:
        raise source.error(steps, f"{test.kind} needs 'at_least', 'at_most' or both")
    if test.at_least is not None and test.at_most is not None and test.at_least > test.at_most:
        raise source.error(steps, f"at_least {test.at_least:g} is above at_most {test.at_most:g}", "at_least")
    if test.than and test.kind != "spread":
        raise source.error(steps, "'than' goes with spread", "than")
    if test.kind == "spread" and test.basis == "rounds":
        raise source.error(steps, "a spread of timings is not judged; compare two of them", "basis")
    if test.kind != "interval" and test.basis == "cases":
        raise source.error(steps, f"the basis cases goes with interval, got {test.kind}", "basis")


def _check_cells(test: Check, cells: Mapping[str, Cell], source: Source, steps: tuple[Step, ...]) -> None:
    """A `UsageError` where the values cannot have the test's basis, or differ in unit."""
    units = {cell.unit for cell in cells.values() if cell.unit}
    if test.kind != "interval" and len(units) > 1:
        raise source.error(steps, f"the values have different units: {', '.join(sorted(units))}", "values")
    for place, cell in cells.items():
        if test.basis == "printed" and not cell.printed:
            raise source.error((*steps, "values"), f"the thesis prints no number at {place}")
        if test.basis in ("counts", "rounds") and cell.kind == "train":
            raise source.error(
                (*steps, "basis"),
                f"{place} comes from {cell.experiment}, which depends on the seed; expected the basis seeds",
            )
