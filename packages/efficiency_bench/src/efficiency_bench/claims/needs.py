"""What a claim needs in order to be judged: the runs, and in words what is missing for them."""

from collections.abc import Iterable, Mapping, Sequence

from efficiency_bench.claims.cells import Cell
from efficiency_bench.claims.definitions import Claim
from efficiency_bench.claims.records import data_of
from efficiency_bench.workflow.data_sets import DataSet
from efficiency_bench.workflow.plan import RunSpec, experiment_runs
from efficiency_bench.workflow.presets import Preset


def claim_runs(claims: Iterable[Claim], preset: Preset, variants: Mapping[str, str]) -> list[RunSpec]:
    """Every run that the claims rest on, once each, with all seeds of the preset; `variants` as in `plan.experiment_runs`."""
    cells = {(cell.place, cell.claim): cell for claim in claims for test in claim.tests for cell in test.measured}
    runs = [
        run
        for cell in cells.values()
        if cell.choice is not None
        for run in experiment_runs(cell.choice, preset, variants, cell.where, cell.row, cell.seeds_name)
    ]
    return list({run.run_id: run for run in runs}.values())


def needed(claim: str, cells: Sequence[Cell], data_sets: Mapping[str, DataSet]) -> str:
    """What would measure these cells of a claim: the command, and real data sets where the thesis has these."""
    command = f"needs `snakemake results/claims/{claim}.csv --config preset=cpu`"
    texts = dict.fromkeys([command] if any(cell.choice for cell in cells) else [])
    for cell in cells:
        if cell.choice is None:
            texts[f"{cell.label}: {cell.missing}"] = None
            continue
        for name in data_of(cell):
            if forms := data_sets[name].real:
                places = " and ".join(dict.fromkeys(place.partition("/")[0] for place in forms[0].needs))
                stand_in = data_sets[name].stand_in
                texts[f"{name} needs {places} under data_root, elsewhere {stand_in} stands in"] = None
    return "; ".join(texts)
