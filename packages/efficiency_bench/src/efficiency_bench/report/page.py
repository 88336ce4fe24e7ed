"""The page: from folders of results to one HTML file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from efficiency_bench.claims.ledger import Verdict, read_verdicts
from efficiency_bench.figures.definitions import find_figures
from efficiency_bench.figures.kinds import CurveFigure, Figure
from efficiency_bench.report.builds import Build, find_builds
from efficiency_bench.report.charts import CANVAS, load_report, view_chart
from efficiency_bench.report.details import Details
from efficiency_bench.report.matching import Choices
from efficiency_bench.report.pictures import download_uri, packed, picture_uri, view_figure
from efficiency_bench.report.rows import STATUSES, TableView, view_table
from efficiency_bench.report.summary import summarise
from efficiency_bench.workflow.tables import Table, find_tables
from efficiency_core.files import atomic_path

ASSETS = Path(__file__).with_name("assets")


def write_report(out: Path, results: Path, kept: Sequence[Path], claims: Path | None, workflows: Path) -> None:
    """Write the page about the folder `results` and kept folders of results to `out`.

    Args:
        claims: `claims.csv`; None where claims were not judged, which the page then says.
        workflows: folder with `tables`, `figures`, `config`, `data.yaml` and `report.yaml`.

    Raises:
        UsageError: a file cannot be read, or is not what its name says.
        WorkError: the page cannot be written.
    """
    page = render(results, kept, claims, workflows)
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n", errors="backslashreplace")


def render(results: Path, kept: Sequence[Path], claims: Path | None, workflows: Path) -> str:
    """The page as text; see `write_report`. The same results give the same text."""
    import jinja2

    builds = find_builds(results, kept)
    choices = Choices.load(workflows)
    judged = read_verdicts(claims) if claims else []
    figures = find_figures(workflows / "figures")
    tables = view_tables(find_tables(workflows / "tables").values(), builds, choices, judged)
    curves = view_tables(curve_points(figures.values()), builds, choices, judged)
    drawn = [view for figure in figures.values() for view in view_figure(figure, builds, choices, judged)]
    definition = load_report(workflows / "report.yaml", {**tables, **curves})
    methods: dict[str, int] = {}
    charts = [view_chart(chart, {**tables, **curves}, methods) for chart in definition.charts]
    details = Details(builds, choices.data_sets)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        canvas=CANVAS, details=details, picture_uri=picture_uri, download_uri=download_uri, packed=packed, asset=_asset
    )
    return environment.get_template("page.html").render(
        builds=builds,
        summary=summarise(builds, list(tables.values()), drawn, judged),
        claims=judged,
        judged=claims is not None,
        chapters=definition.chapters,
        tables=tables,
        curves=curves,
        figures=drawn,
        charts=charts,
        statuses=STATUSES,
    )


def curve_points(figures: Iterable[Figure]) -> list[Table]:
    """The points of those figures that have measured coordinates, as tables."""
    return [figure.points for figure in figures if isinstance(figure, CurveFigure)]


def view_tables(
    tables: Iterable[Table], builds: Sequence[Build], choices: Choices, claims: Sequence[Verdict]
) -> dict[str, TableView]:
    """Every table by its name; see `rows.view_table`."""
    return {table.name: view_table(table, builds, choices, claims) for table in tables}


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
