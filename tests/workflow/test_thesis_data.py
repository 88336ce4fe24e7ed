"""Tables and figures say which data the thesis measured on, so that what stands in for them is marked."""

from typing import Any

from efficiency_bench import experiments
from efficiency_bench.figures.kinds import CurveFigure

ADDED = {"fig5_2", "fig5_7", "fig5_8", "fig4_1", "fig2_7"}
"""Figures that show no data set: random inputs, points of the plane, a drawn motion."""


def chosen_data(found: Any) -> set[str]:
    """The data sets that the rows, points or panels ask for."""
    if hasattr(found, "panels"):
        choices = found.panels
    else:
        table = found.points if isinstance(found, CurveFigure) else found
        choices = [measure for row in table.rows for measure in row.measures]
    return {choice.data.get(own, own) for choice in choices for own in experiments.get(choice.experiment).data}


def test_all_that_read_data_name_the_thesis_s(workflow: Any) -> None:
    for name, found in {**workflow.tables, **workflow.figures}.items():
        assert bool(found.thesis_data) == bool(chosen_data(found)) == (name not in ADDED), name


def test_the_thesis_s_data_are_data_sets_of_the_workflow(workflow: Any) -> None:
    for name, found in {**workflow.tables, **workflow.figures}.items():
        for folder in found.thesis_data:
            data_set, _, material = folder.partition("-")
            assert data_set in workflow.data_sets, f"{name}: {folder}"
            generated = workflow.data_sets[data_set].generator
            assert not material or generated, f"{name}: {folder}: a real set is read in several forms"


def test_a_set_that_was_asked_for_is_the_thesis_s_own(workflow: Any) -> None:
    """Where tables ask for real sets by name (`data`), the thesis has these; MovingDigits in table 2.4 stands in by itself."""
    asked = {}
    for name, found in {**workflow.tables, **workflow.figures}.items():
        known = {folder.partition("-")[0] for folder in found.thesis_data}
        asked[name] = chosen_data(found) - known
    assert {name: sets for name, sets in asked.items() if sets} == {"table2_4": {"moving_digits"}}
