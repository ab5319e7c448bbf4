"""The page in a browser: it fits a telephone, its slider works, and it asks for nothing. Skipped without Chromium."""

import json
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from srgan.report.report import write
from tests.browser import start_browser
from tests.report.runs import write_evaluation, write_run


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    made = start_browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "a run # 1"
    runs = [write_run(folder / name, steps=400, seed=seed) for seed, name in enumerate(("paper", "best"))]
    write_evaluation(runs[0])
    return write(runs).as_uri()


def shown(browser: webdriver.Chrome, gallery: WebElement) -> list[int]:
    frames = gallery.find_elements(By.CLASS_NAME, "frame")
    return [i for i, frame in enumerate(frames) if frame.is_displayed()]


def size(browser: webdriver.Chrome, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    size(browser, width)
    browser.get(page)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart svg")
    assert len(charts) > 20 and all(chart.size["height"] > 150 for chart in charts)


def test_the_slider_shows_one_step_at_a_time(browser, page):
    size(browser, 1280)
    browser.get(page)
    first, second = browser.find_elements(By.CLASS_NAME, "time")
    assert shown(browser, first) == shown(browser, second) == [15]
    move = "arguments[0].value = 3; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(move, first.find_element(By.TAG_NAME, "input"))
    assert shown(browser, first) == [3] and shown(browser, second) == [15]
    figure = first.find_elements(By.CLASS_NAME, "frame")[3]
    assert "pretrain, step 200" in figure.text and "psnr_y" in figure.text
    assert figure.find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 192


def test_paper_shows_a_few_steps_of_each(browser, page):
    browser.get(page)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        galleries = browser.find_elements(By.CLASS_NAME, "time")
        assert [len(shown(browser, gallery)) for gallery in galleries] == [6, 6]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_dark_is_dark(browser, page):
    grounds = {}
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(page)
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = sum(int(part) for part in ground[4:-1].split(","))
    assert grounds["light"] > 700 and grounds["dark"] < 100


def test_the_page_asks_for_nothing_and_complains_of_nothing(browser, page):
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [page]
    assert browser.get_log("browser") == []
