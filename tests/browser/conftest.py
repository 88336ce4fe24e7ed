"""The report about the kept results, in a browser. Needs Chromium (`apt-get install chromium`); else the tests are skipped."""

import csv
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from efficiency_bench.claims.ledger import VERDICTS, Verdict
from efficiency_bench.records.run_record import load_record
from efficiency_bench.report.page import write_report

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results" / "reference"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page: the kept results of one machine as this build, with a figure; those of another machine as kept ones."""
    folder = tmp_path_factory.mktemp("report")
    results = folder / "results"
    shutil.copytree(KEPT / "amd-epyc-2-cores", results)
    (results / "logs" / "runs").mkdir(parents=True)
    run = next((results / "runs").glob("video_detection-*.json"))
    (results / "logs" / "runs" / f"{run.stem}.log").write_text("epoch 1\nepoch 2\n")
    (results / "logs" / "runs" / "video_detection-00000000-s0.log").write_text("error: no space left on the device\n")
    kept = KEPT / "intel-xeon-2-cores"
    shutil.copy(kept / "fig5_2.csv", results)
    (results / "fig5_2.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"/>')
    Image.new("RGB", (640, 480), "white").save(results / "fig5_2.png")
    names = [field.name for field in fields(Verdict)]
    record = load_record(run)
    with (results / "claims.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        for number in range(12):
            verdict = VERDICTS[number % len(VERDICTS)]
            judged = {"records": record.run_id, "source": "this build", "measured": "85.2 ± 0.9", "seeds": "3"}
            line = {"id": f"claim_{number}", "chapter": str(2 + number % 4), "claim": f"Verdict number {number} holds."}
            line |= {
                "where": "section 2.4",
                "rests_on": "table2_1",
                "thesis": "79.3",
                "verdict": verdict,
                "rule": "a rule",
            }
            writer.writerow(line | (judged if verdict != "not run" else {"reason": "needs ILSVRC2015"}))
    out = folder / "report.html"
    write_report(out, results, [kept], results / "claims.csv", ROOT / "workflows")
    return out


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    playwright.expect.set_options(timeout=60_000)
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """Opens the report in a window of its own, with options of Playwright's `new_context`. A message of the console, an error
    of a script or a request for anything but the page itself fails the test."""
    faults: list[str] = []
    contexts = []

    def open_one(fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: _note(request.url, report, faults))
        page.goto(f"{report.as_uri()}{fragment}", timeout=300_000)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


def _note(address: str, report: Path, faults: list[str]) -> None:
    if not address.startswith((report.as_uri(), "data:")):
        faults.append(f"request: {address}")
