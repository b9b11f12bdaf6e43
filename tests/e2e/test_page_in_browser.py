"""The audit page in a real browser, from a file, without a network: opened, clicked, and driven by keys.

Needs Chromium and its driver (Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from robustft.files import read_json, sha256_file
from robustft.provenance.roots import root_over

pytestmark = pytest.mark.hpc

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def folder(finished: Path, tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's page, under a path with a space and a letter outside of ASCII."""
    if not (BROWSER and DRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    folder = tmp_path_factory.mktemp("pages of é")
    made = tools["robustft"](finished, "export", "page", "--scale", "smoke", "--to", str(folder / "page.html"))
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def browser(folder: Path) -> Iterator:
    """A fresh browser with the page open; at the end it has said no error and asked no network for anything."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1500,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get((folder / "page.html").as_uri())
        yield driver
        assert driver.get_log("browser") == []
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        print(f"{len(asked)} requests, by scheme: {sorted({url.split(':')[0] for url in asked})}")  # noqa: T201 (what was tried is told)
        assert asked
        assert [url[:80] for url in asked if not url.startswith(("file:", "data:"))] == []
    finally:
        driver.quit()


def until(driver, condition: Callable[[], Any]) -> Any:
    """Return the first true value of a condition: the page draws some of its parts after an event."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, 120, poll_frequency=0.05).until(lambda _: condition())


def find(driver, selector: str):
    return until(driver, lambda: find_all(driver, selector))[0]


def find_all(driver, selector: str) -> list:
    from selenium.webdriver.common.by import By

    return driver.find_elements(By.CSS_SELECTOR, selector)


def press(driver, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


CELL = "twins/main:twins_at/autoattack"


def test_every_cell_can_be_clicked_and_shows_what_was_counted(browser, finished):
    numbers = read_json(finished / "results" / "smoke" / "twins" / "numbers.json")
    cells = {(c["method"], c["attack"]): c for c in numbers["cells"] if c["experiment"] == "main"}
    buttons = find_all(browser, "button.cell")
    assert len(buttons) == len(find_all(browser, "table.grid .cell")) >= 40
    for button in buttons:
        name = button.get_attribute("data-cell")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        cell = cells[tuple(name.split(":")[1].split("/"))]
        assert find(browser, "#panel-value").text.startswith(f"{100 * cell['mean']:.1f}"), name
        rows = [row.text for row in find_all(browser, "#panel .seeds tbody tr")]
        measured = [
            one
            for one in numbers["measurements"]
            if (one["experiment"], one["method"], one["attack"]) == ("main", cell["method"], cell["attack"])
        ]
        assert len(rows) == len(measured) == len(cell["seeds"])
        for row, one in zip(rows, measured, strict=True):
            assert row.startswith(
                f"{one['seed']} {one['correct']} of {one['images']} images {100 * one['accuracy']:.1f} %"
            )
    print(f"{len(buttons)} cells clicked")  # noqa: T201 (what was tried is told)


def shown(driver, text: str) -> None:
    """Wait until the unfolded panel shows a text. What it draws on unfolding is unfolded too."""
    unfold = "for (const one of document.querySelectorAll('#panel details')) one.open = true"

    def drawn() -> bool:
        driver.execute_script(unfold)
        return text in find(driver, "#panel").text

    until(driver, drawn)


def test_the_panel_holds_claims_and_the_chain_down_to_the_data_by_hash(browser, finished):
    find(browser, f"[data-cell='{CELL}']").click()
    panel = find(browser, "#panel")
    assert "TWINS-AT is more robust than AT" in panel.text
    assert "inconclusive" in panel.text
    assert "Source\nabstract" in panel.text
    assert "not on record" in panel.text
    step = "twins/main/digits_5to9/twins_at/seed0"
    # Unfold the chain one link after another; every unfolding draws the next.
    for selector in (f"attack:{step}/robustness.1of1", f"train:{step}", "train:pretraining/digits_at", "data:digits"):
        node = find(browser, f"#panel [data-step='{selector}']")
        if not node.get_attribute("open"):
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", node)
            find(node, "summary").click()
    results = finished / "results"
    for path in (
        results / "smoke" / step / "robustness.1of1.ledger.parquet",
        results / "smoke" / step / "checkpoint.safetensors",
        results / "smoke" / step / "checkpoint.record.json",
        results / "smoke" / "pretraining" / "digits_at" / "checkpoint.safetensors",
        results / "data" / "digits.safetensors",
    ):
        shown(browser, sha256_file(path))
    shown(browser, "digits.csv.gz")
    shown(browser, "pipeline/robustft/methods/twins.py")
    assert find(browser, "#root").text == root_over(
        {"twins": sha256_file(results / "smoke" / "twins" / "manifest.record.json")}
    )


def test_keys_alone_open_move_and_close(browser):
    from selenium.webdriver.common.keys import Keys

    first = find(browser, "table.grid button.cell")
    browser.execute_script("arguments[0].focus()", first)
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    active = browser.switch_to.active_element
    assert active.get_attribute("data-cell") == "twins/main:at/fgsm"
    assert active.get_attribute("tabindex") == "0"
    assert len(find_all(browser, "#twins-main button.cell[tabindex='0']")) == 1, "one stop of Tab a table"
    press(browser, Keys.ENTER)
    assert find(browser, "#panel").is_displayed()
    assert browser.switch_to.active_element.get_attribute("id") == "panel-title"
    assert active.get_attribute("aria-expanded") == "true"
    press(browser, Keys.ESCAPE)
    assert not find(browser, "#panel").is_displayed()
    assert browser.switch_to.active_element == active
    assert active.get_attribute("aria-expanded") == "false"


def test_rows_are_found_and_the_rest_is_hidden(browser):
    find(browser, "#search").send_keys("twins-trades")
    shown = [row.text for row in find_all(browser, "#twins-main tbody tr") if row.is_displayed()]
    assert shown
    assert all(row.startswith("TWINS-TRADES") for row in shown)
    assert find(browser, "#found").text.endswith("rows shown")


def test_a_link_to_a_cell_opens_it(browser, folder):
    browser.get("about:blank")
    browser.get(f"{(folder / 'page.html').as_uri()}#cell={CELL}")
    assert find(browser, "#panel h2").text == "TWINS-AT · AutoAttack"


def test_nothing_is_green_at_a_scale_of_stand_ins_in_light_and_dark(browser):
    theme = "return document.documentElement.dataset.theme || ''"
    for _ in range(2):
        colours = browser.execute_script(
            "return [...document.querySelectorAll('main *, header *')].map((one) => getComputedStyle(one).color)"
        )
        values = {tuple(int(float(part)) for part in re.findall(r"[\d.]+", colour)[:3]) for colour in colours}
        assert values
        assert not [(r, g, b) for r, g, b in values if g > r + 25 and g > b + 25]
        before = browser.execute_script(theme)
        find(browser, "#nav .tools button").click()
        assert browser.execute_script(theme) != before


def test_figures_are_drawn(browser):
    figures = find_all(browser, "figure img")
    assert figures
    for figure in figures:
        browser.execute_script("arguments[0].scrollIntoView()", figure)
        browser.execute_async_script("arguments[0].decode().then(arguments[1])", figure)
        assert browser.execute_script("return arguments[0].naturalWidth", figure) > 100
        assert figure.get_attribute("alt")


def test_an_address_names_a_cell_and_a_changed_or_bad_one_is_answered(browser, folder):
    from selenium.webdriver.support.ui import WebDriverWait

    buttons = find_all(browser, ".cell")
    first, last = buttons[0], buttons[-1]
    browser.execute_script(f"location.hash = 'cell={last.get_attribute('data-cell')}'")
    WebDriverWait(browser, 5).until(lambda _: last.get_attribute("aria-expanded") == "true")
    top = browser.execute_script("return arguments[0].getBoundingClientRect().top", last)
    assert 0 <= top <= browser.execute_script("return innerHeight"), "it is scrolled to"
    browser.execute_script("location.hash = 'cell=no/such:cell/%'")
    WebDriverWait(browser, 5).until(lambda _: find(browser, "#missing").is_displayed())
    assert "no measured cell no/such:cell/%" in find(browser, "#missing").text
    browser.execute_script(f"location.hash = 'cell={first.get_attribute('data-cell')}'")
    WebDriverWait(browser, 5).until(lambda _: first.get_attribute("aria-expanded") == "true")
    assert not find(browser, "#missing").is_displayed()


def test_a_search_hides_papers_and_figures_without_a_hit_and_counts(browser):
    field = find(browser, "#search")
    field.send_keys("nothing has this name")
    assert find(browser, "#found").text == "nothing fits"
    assert not any(one.is_displayed() for one in find_all(browser, "section.paper, .figures > figure"))
    field.clear()
    field.send_keys("pgd-20")
    rows = [row for row in find_all(browser, "article tbody tr") if row.is_displayed()]
    assert find(browser, "#found").text.startswith(f"{len(rows)} rows in ")


def test_a_table_is_sorted_by_a_column_and_back(browser):
    table = find(browser, "table.grid")

    def column() -> list[str]:
        return [row.text for row in table.find_elements("css selector", "tbody td:nth-child(2)")]

    before, button = column(), table.find_elements("css selector", "th .sort")[1]
    numbers = [float(text.split()[0]) for text in before]
    for expected in (sorted(numbers, reverse=True), sorted(numbers), numbers):
        button.click()
        assert [float(text.split()[0]) for text in column()] == expected
    assert column() == before


def test_the_page_shows_no_null(browser):
    text = browser.execute_script("return document.body.innerText")
    assert re.search(r"\bnull\b|undefined|NaN", text) is None
