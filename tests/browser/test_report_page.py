"""The report does in a browser what it promises: sorts, filters, opens cells, without a network, with a keyboard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


def expect(target: Any) -> Any:
    """Playwright's assertion that waits: the page answers a click or a key after the call has returned."""
    return pytest.importorskip("playwright.sync_api").expect(target)


def table(page: Any, name: str) -> Any:
    """The table, which can be sorted and filtered once it comes into view."""
    page.locator(f"#{name}").scroll_into_view_if_needed()
    found = page.locator(f"#{name}.dataTable")
    found.wait_for()
    return found


def column(page: Any, table: str, header: str) -> list[str]:
    """Texts of the column under the head that starts with `header`."""
    script = """([table, header]) => {
      const heads = [...document.querySelectorAll(`#${table} thead th`)];
      const head = heads.find((head) => head.textContent.trim().startsWith(header));
      const place = new DataTable(`#${table}`).column(head).index();
      return [...document.querySelectorAll(`#${table} tbody tr`)].map((row) => row.children[place].textContent.trim());
    }"""
    found: list[str] = page.evaluate(script, [table, header])
    return found


def test_a_column_sorts_by_its_numbers(open_page: Open) -> None:
    page = open_page()
    head = table(page, "table2_4").locator("th", has_text="mAP (%), thesis")
    assert head.get_attribute("aria-sort") in (None, "none")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    first = [float(text) for text in column(page, "table2_4", "mAP (%), thesis") if text]
    assert first == sorted(first) and len(set(first)) > 10
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert [float(text) for text in column(page, "table2_4", "mAP (%), thesis") if text] == sorted(first, reverse=True)


def test_rows_are_filtered_by_text_and_by_status(open_page: Open) -> None:
    page = open_page()
    block = page.locator("section", has=table(page, "table2_4")).last
    block.get_by_role("searchbox").fill("FGFA")
    expect(page.locator("#table2_4 tbody tr")).to_have_count(1)
    expect(block.get_by_role("status")).to_have_text("1 of 23 rows")
    block.get_by_role("searchbox").fill("")
    expect(block.get_by_role("status")).not_to_have_text("1 of 23 rows")
    rows = page.locator("#table2_4 tbody tr")
    before = rows.count()
    block.get_by_label("Status in Table 2.4").select_option("thesis only")
    expect(rows).not_to_have_count(before)
    shown = column(page, "table2_4", "Status")
    assert shown and all("thesis only" in text for text in shown)


def test_a_card_shows_the_claims_of_its_verdict(open_page: Open) -> None:
    page = open_page()
    page.locator(".card.does-not-hold a").click()
    expect(page.locator("#claims-table tbody tr")).to_have_count(3)
    shown = column(page, "claims-table", "Verdict")
    assert all("does not hold" in text for text in shown)
    page.locator('a[href="#claim-claim_0"]').first.click()
    expect(page.locator("#claim-claim_0")).to_be_visible()  # though a filter hid it


def test_a_cell_opens_its_runs_by_mouse_and_keyboard(open_page: Open) -> None:
    page = open_page()
    cell = page.locator("#table2_1 button.cell").first
    cell.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_contain_text("Table 2.1")
    runs = dialog.locator("details.run")
    expect(runs).to_have_count(3)  # one for each seed
    runs.first.locator("summary").first.click()
    for said in ("effbench run video_detection --set", "snakemake results/runs/video_detection-", "sha256", "AMD EPYC"):
        expect(runs.first).to_contain_text(said, use_inner_text=True)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(cell).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()


def test_a_verdict_opens_its_rule(open_page: Open) -> None:
    page = open_page()
    page.locator("#claim-claim_0 button").click()
    expect(page.get_by_role("dialog")).to_contain_text("a rule", use_inner_text=True)


def test_a_hidden_method_leaves_the_colours_of_others(open_page: Open) -> None:
    page = open_page()
    chart = page.locator("#chart-2-1-title").locator("xpath=..")
    colours = "group => group.querySelector('.mark') && getComputedStyle(group.querySelector('.mark')).stroke"
    groups = chart.locator("g[data-method]")
    before = [group.evaluate(colours) for group in groups.all()]
    assert len(set(before)) > 3
    boxes = chart.get_by_role("checkbox")
    name = boxes.first.get_attribute("data-toggle")
    boxes.first.uncheck()
    hidden = [group.is_hidden() for group in groups.all()]
    assert hidden == [group.get_attribute("data-method") == name for group in groups.all()] and any(hidden)
    assert [group.evaluate(colours) for group in groups.all()] == before


def test_a_point_is_named_and_opens_with_the_keyboard(open_page: Open) -> None:
    page = open_page()
    point = page.locator("#chart-2-1-title").locator("xpath=..").locator("g.point", has_text="Faster-RCNN").last
    assert "measured, this build" in point.get_attribute("aria-label")
    point.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_download_is_the_file_itself(open_page: Open, report: Path) -> None:
    page = open_page()
    for name in ("table2_1.csv", "fig5_2.svg"):
        with page.expect_download() as download:
            page.locator(f'a[download="{name}.gz"]').first.click()
        assert download.value.suggested_filename == name
        assert Path(download.value.path()).read_bytes() == (report.parent / "results" / name).read_bytes()


def test_what_did_not_run_does_not_look_fine(open_page: Open) -> None:
    page = open_page()
    table(page, "table3_2")
    assert "not built" in column(page, "table3_2", "Status")[0]
    assert "1 run began and did not end" in page.locator("#overview").text_content()
    assert "no space left" in page.locator("#overview").text_content()
    assert "kinds of machines" in page.locator("#overview").text_content()


def test_no_part_of_the_page_is_wider_than_a_phone(open_page: Open) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_axe_finds_no_serious_fault(open_page: Open, scheme: str, size: tuple[int, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    for name in ("table2_4", "table5_2"):
        table(page, name)
    page.add_style_tag(content="* { content-visibility: visible !important }")  # so that nothing is left out
    whole = axe.run(page).response
    assert len(whole["passes"]) > 10, "axe looked at the page"
    found = whole["violations"]
    page.locator("#table2_1 button.cell").first.click()
    page.locator("details.run summary").first.click()
    found += axe.run(page, context="#details").response["violations"]
    faults = [
        (fault["id"], node["html"][:120], node["any"] and node["any"][0]["message"])
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]
    assert faults == []
