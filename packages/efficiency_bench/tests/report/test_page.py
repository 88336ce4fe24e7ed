"""The page as HTML: what it shows, that it is well-formed, and that it needs nothing from outside."""

import base64
import gzip
import io
import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from efficiency_bench.report.page import write_report
from efficiency_core.errors import UsageError

VOID = {"meta", "input", "img", "br", "link", "line", "path", "circle"}
CLAIM = {
    "id": "faster", "chapter": "2", "claim": "Ours is faster", "rests_on": "table2_4 fig3_6", "verdict": "holds", "seeds": "1",
    "source": "this build",
}  # fmt: skip


class Page(HTMLParser):
    """Elements of a page; a tag that closes another element than the last one is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.said += data

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


def data_of(page: str) -> Any:
    found = re.search(r'<script id="data" type="text/plain">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_the_page_shows_every_table_figure_and_claim(built: Any) -> None:
    text = built.page(claims=built.claims(CLAIM, {**CLAIM, "id": "better", "verdict": "does not hold"}))
    page = Page(text)
    ids = page.all("id")
    assert len(set(ids)) == len(ids)
    assert {"table2_4", "fig2_5", "claim-faster", "claim-better", "chapter-2", "chapter-3", "machines"} <= set(ids)
    assert page.said.count("does not hold") >= 2
    for said in ("Detectors & <their> speed", "on <b>stand-in</b> data", "needs their code", "Epic CPU", "thesis only"):
        assert said in page.said
    entries, runs = data_of(text)["entries"], data_of(text)["runs"]
    assert {int(number) for number in page.all("data-open")} == set(range(len(entries)))
    assert all(run in runs for entry in entries for run in entry["runs"])
    linked = {link[1:] for link in page.all("href") if link.startswith("#")}
    assert linked <= set(ids)
    labels = [part for names in ("aria-labelledby",) for value in page.all(names) for part in value.split()]
    assert set(labels) <= set(ids)


def test_a_claim_has_the_runs_of_every_device_that_judged_it(built: Any, tmp_path: Path) -> None:
    kept = tmp_path / "my node"
    shutil.copytree(built.results, kept)
    first, second = built.runs[:2]
    records = f"'my node/{first.run_id}' 'this build/{second.run_id}'"
    text = built.page(kept, claims=built.claims({**CLAIM, "source": "my node + this build", "records": records}))
    (entry,) = (entry for entry in data_of(text)["entries"] if entry["title"] == CLAIM["claim"])
    assert entry["runs"] == [f"my node/{first.run_id}", f"this build/{second.run_id}"]
    assert "Caution" not in dict(entry["facts"])
    assert [data_of(text)["runs"][run]["source"] for run in entry["runs"]] == ["my node", "this build"]


def test_the_same_results_give_the_same_page(built: Any) -> None:
    assert built.page() == built.page()


def test_pictures_and_files_are_in_the_page(built: Any) -> None:
    page = Page(built.page())
    addresses = [*page.all("src"), *page.all("href")]
    outside = [address for address in addresses if not address.startswith(("#", "data:"))]
    assert outside == []
    files = {
        str(attributes["download"]): gzip.decompress(base64.b64decode(str(attributes["href"]).partition(",")[2]))
        for tag, attributes in page.elements
        if "download" in attributes
    }
    names = ("table2_4.csv", "fig2_5.csv", "fig2_5.svg", "fig3_6.csv", "fig3_6.svg")
    assert files == {f"{name}.gz": (built.results / name).read_bytes() for name in names}
    pictures = [base64.b64decode(address.partition(",")[2]) for address in page.all("src")]
    with Image.open(built.results / "fig2_5.png") as drawn, Image.open(io.BytesIO(pictures[0])) as shown:
        assert shown.size == drawn.size and len(pictures) == 2
    policy = next(attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'")


def test_nothing_of_a_result_is_read_as_html(built: Any) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    (built.results / "logs" / "runs").mkdir(parents=True)
    for run in built.runs:
        (built.results / "logs" / "runs" / f"{run.run_id}.log").write_text(bad)
    (built.results / "logs" / "runs" / "speed-00000000-s0.log").write_text(bad)
    path = built.results / "table2_4.csv"
    path.write_text(path.read_text().replace("on <b>stand-in</b> data", bad))
    text = built.page(claims=built.claims({**CLAIM, "claim": bad, "reason": bad, "thesis": bad}))
    assert "<img src=x" not in text and "<b>" not in text
    assert Page(text).said.count(bad) >= 4
    assert bad in next(iter(data_of(text)["runs"].values()))["tail"]


def test_a_page_without_any_result_says_that_nothing_ran(project: Any) -> None:
    text = project.page()
    page = Page(text)
    assert "The claims were not judged." in page.said
    assert "0 of 1 built" in page.said and "There is no run record." in page.said
    assert page.said.count("not built") >= 4
    assert data_of(text)["runs"] == {}
    assert {fact for entry in data_of(text)["entries"] for fact, _ in entry["facts"]} <= {
        "Thesis",
        "Unit",
        "Better",
        "Note",
    }, "the thesis's points"


def test_a_run_that_did_not_end_is_named_with_its_log(built: Any) -> None:
    run = built.runs[0].run_id
    (built.results / "logs" / "runs").mkdir(parents=True)
    (built.results / "logs" / "runs" / f"{run}.log").write_text("epoch 1\nerror: no space left\n")
    assert "did not end" not in Page(built.page()).said
    (built.results / "runs" / f"{run}.json").unlink()
    said = Page(built.page()).said
    assert "1 run began and did not end" in said and "detection: error: no space left" in said


def test_banners_say_smoke_and_several_machines(built: Any, tmp_path: Path) -> None:
    said = Page(built.page()).said
    assert "kinds of machines" not in said and "mean nothing" not in said
    kept = tmp_path / "old-machine"
    shutil.copytree(built.results, kept)
    slow = {"type": "cpu", "name": "Slow CPU", "threads": 1, "clock_mhz": None}
    for run in built.runs:
        built.measure(run, kept, device=slow, preset="smoke")
    said = Page(built.page(kept)).said
    assert "come from 2 kinds of machines" in said and "Slow CPU" in said and "old-machine" in said
    assert "mean nothing" not in said, "kept runs are not this build"
    path = built.results / "table2_4.csv"
    config = built.workflows / "config"
    (config / "smoke.yaml").write_text((config / "quick.yaml").read_text().replace("quick", "smoke"))
    path.write_text(path.read_text().replace(",quick,", ",smoke,"))
    said = Page(built.page()).said
    assert "Preset smoke: the numbers mean nothing." in said and "smoke (1 of these)" in said


def test_claims_of_other_columns_or_verdicts_are_refused(built: Any) -> None:
    with pytest.raises(UsageError, match=r"claims\.csv: claim faster: expected a verdict of .* got 'maybe'"):
        built.page(claims=built.claims({**CLAIM, "verdict": "maybe"}))
    path = built.results / "claims.csv"
    path.write_text("id,verdict\na,holds\n")
    with pytest.raises(UsageError, match=r"claims\.csv: expected a column 'chapter'"):
        built.page(claims=path)


def test_a_chart_of_what_is_not_there_is_refused(built: Any) -> None:
    path = built.workflows / "report.yaml"
    text = path.read_text()
    for old, new, said in (
        ("metric: fps", "metric: speed", r"report\.yaml, line 6: charts\[0\]\.x\.metric: table2_4 has no 'speed'"),
        ("table: fig2_5", "table: fig2_9", r"no table 'fig2_9'; there are table2_4, fig2_5"),
        ("method: series", "method: name", r"fig2_5 has no column 'name'; it has series, point"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(UsageError, match=said):
            built.page()


def test_the_page_is_written_whole(built: Any, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(out, built.results, (), None, built.workflows)
    assert out.read_text(encoding="utf-8") == built.page()
