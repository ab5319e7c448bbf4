"""The page in headless Chromium."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from srgan.image.files import Image, ImageBytes, read_rgb8, write_image
from srgan.upscale.mixture import AUTO_TEXTURES
from tests.browser import start_browser
from tests.serve.conftest import Gate, Running, by_command, drawn, until


class Page:
    """The page of one service in one browser."""

    def __init__(self, driver: webdriver.Chrome, url: str, downloads: Path) -> None:
        self.driver, self.url, self.downloads = driver, url, downloads

    def open(self, width: int = 1400, height: int = 900, *, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(self.url)
        self.until(lambda: len(self.all("#examples img")) > 0)

    def __getitem__(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, holds: Callable[[], Any], seconds: float = 60) -> Any:
        return WebDriverWait(self.driver, seconds, 0.05).until(lambda _: holds())

    def done(self) -> None:
        self.until(lambda: self["download"].is_displayed() or self["problem"].text)
        assert self["problem"].text == ""

    def set_range(self, name: str, value: float) -> None:
        script = """arguments[0].value = arguments[1];
            for (const kind of ['input', 'change']) arguments[0].dispatchEvent(new Event(kind, {bubbles: true}))"""
        self.run(script, self[name], value)

    def send(self, *files: Path) -> None:
        self["picture"].send_keys("\n".join(map(str, files)))

    def show(self, name: str) -> None:
        [row] = [row for row in self.all("#rows .show") if row.text == name]
        row.click()

    def download(self, button: str = "download") -> tuple[str, bytes]:
        for file in self.downloads.iterdir():
            file.unlink()
        self[button].click()
        complete = lambda: [f for f in self.downloads.iterdir() if not f.name.endswith(".crdownload")]  # noqa: E731
        [file] = self.until(complete)
        self.until(lambda: file.stat().st_size > 0)
        return file.name, file.read_bytes()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[webdriver.Chrome, Path]]:
    downloads = tmp_path_factory.mktemp("downloads")
    browser = start_browser(tmp_path_factory.mktemp("chromium"))
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    yield browser, downloads
    browser.quit()


@pytest.fixture(scope="module")
def served(run_service: Callable[..., Running]) -> Running:
    return run_service()


@pytest.fixture
def page(driver: tuple[webdriver.Chrome, Path], served: Running) -> Iterator[Page]:
    """The page, opened; afterwards: no request went to another host, the console is empty."""
    page = Page(driver[0], served.url, driver[1])
    driver[0].get_log("performance")
    driver[0].get_log("browser")
    page.open()
    yield page
    requests = [json.loads(entry["message"])["message"] for entry in driver[0].get_log("performance")]
    addresses = {m["params"]["request"]["url"] for m in requests if m["method"] == "Network.requestWillBeSent"}
    assert addresses
    assert {a for a in addresses if not a.startswith((served.url, "blob:", "data:"))} == set()
    messages = [entry["message"] for entry in driver[0].get_log("browser")]
    assert [text for text in messages if " 400 (" not in text and " 422 (" not in text] == []


def test_upload_and_download_equal_the_command(page, image_file):
    source = image_file("my photo.png", height=120, width=160)
    page.send(source)
    page.done()
    name, data = page.download()
    assert name == "my photo_x4.png"
    assert data == by_command(source, source.with_name("ours.png"))
    assert page["command"].get_attribute("textContent") == (
        "srgan upscale 'my photo.png' --scale 4 -o 'my photo_x4.png'"
    )
    assert page["sr"].get_property("naturalWidth") == page["before"].get_property("naturalWidth") == 640


def test_scales_and_formats_equal_the_command(page, image_file):
    source = image_file("deep.tif", height=60, width=80, deep=True)  # a browser shows no TIFF
    page.run("document.querySelector('input[value=\"3\"]').click()")
    page.send(source)
    page.done()
    assert page.download() == ("deep_x3.tif", by_command(source, source.with_name("o.tif"), "--scale", "3"))
    assert page["sr"].get_property("naturalWidth") == 240  # the service sent a view of it
    page.run("document.querySelector('details').open = true")
    page["format"].send_keys("AVIF")
    page.until(lambda: page["download"].get_attribute("download") == "deep_x3.avif")
    assert page.download()[1] == by_command(source, source.with_name("o.avif"), "--scale", "3")


def test_the_divider(page, image_file):
    page.send(image_file(height=120, width=160))
    page.done()
    before = _uncovered(page)
    ActionChains(page.driver).drag_and_drop_by_offset(page["divider"], -150, 20).perform()
    assert float(page["split"].get_property("value")) == pytest.approx(
        50 - 100 * 150 / page["viewer"].get_property("clientWidth"), abs=1
    )
    assert _uncovered(page) < before
    assert page["before-name"].is_displayed() and page["after-name"].is_displayed()
    page["split"].send_keys(Keys.HOME)
    assert _uncovered(page) == 0 and not page["before-name"].is_displayed()
    page["split"].send_keys(Keys.END)
    assert page["before-name"].is_displayed() and not page["after-name"].is_displayed()


def test_a_tiny_result_has_a_size_and_no_handle_over_it(page, image_file):
    page.send(image_file("dot.png", height=1, width=1))
    page.done()
    assert " kB in " in page["rows"].text and "0.0" not in page["rows"].text.split(" kB")[0]
    style = "const s = getComputedStyle(arguments[0], '::after'); return [parseFloat(s.bottom), parseFloat(s.height)]"
    bottom, height = page.run(style, page["divider"])
    assert bottom + height < page["viewer"].get_property("clientHeight") / 2 - 20


def _uncovered(page: Page) -> float:
    """Output pixels that bicubic shows, from the left."""
    clip = page.run("return getComputedStyle(arguments[0]).clipPath", page["after"])
    return float(clip.removeprefix("inset(").rstrip(")").split()[-1].removesuffix("px"))


def test_another_texture_shows_a_tile_first(page, served, image_file, monkeypatch):
    source = image_file(height=150, width=170)
    page.send(source)
    page.done()
    gate = Gate(served, monkeypatch, "large")
    page.set_range("texture", 0.35)
    page.until(lambda: page["tile"].is_displayed() and page["tile"].get_property("naturalWidth") == 4 * 72)
    assert page["after-name"].text == "texture 0.35 in the frame"
    page.until(lambda: page["progress"].is_displayed())
    assert not page["download"].is_displayed()
    gate.opened.set()
    page.done()
    assert not page["tile"].is_displayed()
    assert page.download()[1] == by_command(source, source.with_name("o.png"), "--texture", "0.35")
    page["texture-auto"].click()
    page.until(lambda: page["texture-value"].text == f"{AUTO_TEXTURES[0]:g}")


def test_auto_shows_what_was_chosen(page, tmp_path):
    source = tmp_path / "photo.jpg"
    write_image(source, Image(pixels=drawn(40, 56)), quality=50)
    page.send(source)
    page.done()
    strength, _, reason = page["restore-value"].text.partition(" ")
    assert float(strength) == float(page["restore"].get_property("value"))
    assert reason.startswith("(JPEG, quality about ") and page["text"].text.endswith(f"restore {strength} {reason}")
    page.set_range("restore", 0.6)
    assert not page["restore-auto"].is_selected()
    page.until(lambda: page["after-name"].text == f"texture {AUTO_TEXTURES[0]:g}, restore 0.6")
    assert page.download()[1] == by_command(source, source.with_name("o.jpg"), "--restore", "0.6")


def test_files_become_a_queue_and_one_zip(page, image_file, tmp_path):
    (tmp_path / "other").mkdir()
    sources = [image_file("a.png"), image_file("größe.jpg", seed=2), image_file("other/A.png", seed=3)]
    broken = tmp_path / "text.png"
    broken.write_bytes(b"this is no image")
    page.send(*sources[:2], broken, sources[2])
    page.until(lambda: page["total-text"].text == "3 of 4 done, 1 failed")
    assert [row.get_attribute("class") for row in page.all("#rows li")] == ["done", "done", "failed", "done"]
    name, data = page.download("zip")
    assert name == "srgan_x4.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        results = {info.filename: archive.read(info) for info in archive.infolist()}
    names = ["a_x4.png", "größe_x4.jpg", "A_x4 (2).png"]  # some disks tell A from a, others do not
    assert results == {
        name: by_command(source, tmp_path / f"ours{source.suffix}") for name, source in zip(names, sources, strict=True)
    }
    page["clear"].click()
    assert not page["queue"].is_displayed() and not page["bar"].is_displayed() and page["empty"].is_displayed()


def test_cancel(page, served, image_file, monkeypatch):
    service = served.service
    gate = Gate(served, monkeypatch, "large")
    page.send(image_file(height=150, width=170))
    page.until(lambda: service.large.running == 1)
    page.until(lambda: page["tile"].is_displayed())  # the preview is done, and counted
    assert page["after-name"].text == "srgan in the frame" and page["text"].text == "starting"
    page["cancel"].click()
    assert page["text"].text == "cancelled" and not page["progress"].is_displayed()
    finished = served.metric("srgan_pictures_total")
    gate.opened.set()
    until(lambda: service.large.running == 0)
    assert served.metric("srgan_pictures_total") == finished
    page["again"].click()
    page.done()
    assert (
        page["after-name"].text.startswith(f"texture {AUTO_TEXTURES[0]:g}, restore ")
        and not page["again"].is_displayed()
    )


def test_a_service_that_went_away(page, image_file):
    def offline(value: bool) -> None:
        limits = {"offline": value, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", limits)

    offline(True)
    page.send(image_file())
    page.until(lambda: page["problem"].is_displayed())
    assert "Start it again (srgan serve)" in page["problem"].text
    offline(False)
    page.driver.get_log("browser")
    page["again"].click()
    page.until(lambda: page["download"].is_displayed())
    assert not page["problem"].is_displayed()


def test_what_is_transparent_shows_squares(page, tmp_path):
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:, :20] = 255  # a red half; the other half is transparent
    red = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    write_image(tmp_path / "half.png", Image(pixels=red, alpha=alpha))
    page.send(tmp_path / "half.png")
    page.done()
    page.run("document.getElementById('divider').hidden = true")
    shot = read_rgb8(ImageBytes(data=page["viewer"].screenshot_as_png, name="the viewer"))
    middle = shot.shape[1] // 2
    right = shot[shot.shape[0] // 2 - 40 :, middle + 20 : middle + 70][:80]
    assert {tuple(colour) for colour in right.reshape(-1, 3).tolist()} == {(255, 255, 255), (201, 201, 201)}


def test_zoom_and_pan(page, image_file):
    page.send(image_file(height=120, width=160))
    page.done()

    def matrix() -> list[float]:
        value = page.run("return getComputedStyle(arguments[0]).transform", page["stage"])
        return [float(number) for number in value.removeprefix("matrix(").rstrip(")").split(",")]

    assert matrix()[0] == 1 and page["one"].get_attribute("aria-pressed") == "true"
    page["fit"].click()
    fitted = matrix()
    assert page["zoom"].text == f"{100 * fitted[0]:.0f} %" != "100 %"
    assert not page["keys"].is_displayed()
    page["viewer"].send_keys("+")
    assert page["keys"].is_displayed()  # where and while the keys work
    assert matrix()[0] == pytest.approx(1.5 * fitted[0], rel=1e-4)
    left = matrix()[4]
    page["viewer"].send_keys(Keys.ARROW_RIGHT)
    assert matrix()[4] == pytest.approx(left - 60, abs=0.01)
    page["viewer"].send_keys("0")
    assert matrix() == pytest.approx(fitted, abs=0.01)
    page["viewer"].send_keys("1")
    assert matrix()[0] == 1
    page["fit"].click()
    page["mark"].click()
    chain = ActionChains(page.driver).move_to_element_with_offset(page["viewer"], 60, 60)
    chain.click_and_hold().move_by_offset(90, 60).release().perform()
    assert matrix()[0] > 3 * fitted[0]
    assert page["mark"].get_attribute("aria-pressed") == "false"


def test_a_wrong_file_shows_the_sentence(page, image_file, tmp_path):
    (tmp_path / "text.png").write_bytes(b"this is no picture")
    (tmp_path / "empty.png").touch()
    page.send(image_file())
    page.done()
    for name, words in {"text.png": "text.png is no ", "empty.png": "empty.png is empty"}.items():
        page.send(tmp_path / name)
        page.until(lambda: page["problem"].is_displayed())
        assert words in page["problem"].text
        assert not page["stage"].is_displayed() and not page["download"].is_displayed()
        assert not page["fit"].is_enabled()
        page.show("photo.png")
        assert not page["problem"].is_displayed() and page["download"].is_displayed()
        page.until(lambda: page["sr"].get_property("naturalWidth") == 4 * 56)
    assert page["problem"].get_attribute("role") == "alert"


def test_the_message_hides_no_button(page, image_file, tmp_path):
    page.open(390, 844)
    page.send(image_file())
    page.done()
    page.run("arguments[0].scrollIntoView()", page["drop"])
    (tmp_path / "text.png").write_bytes(b"this is no picture")
    page.send(tmp_path / "text.png")
    page.until(lambda: page["problem"].is_displayed())
    bottom, top = (
        page.run(f"return arguments[0].getBoundingClientRect().{side}", page[name])
        for name, side in (("problem", "bottom"), ("again", "top"))
    )
    assert 0 < bottom < top
    page["again"].click()


def test_examples_paste_and_drop(page, image_file):
    page.all("#examples button")[0].click()
    page.done()
    assert page["download"].get_attribute("download").endswith("_x4.png")
    data = list(image_file().read_bytes())
    for kind, field in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.run(
            """const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(arguments[0])], `${arguments[1]}.png`, {type: 'image/png'}));
            const event = new Event(arguments[1], {bubbles: true, cancelable: true});
            Object.defineProperty(event, arguments[2], {value: transfer});
            document.body.dispatchEvent(event);""",
            data,
            kind,
            field,
        )
        page.until(lambda kind=kind: page["download"].get_attribute("download") == f"{kind}_x4.png")


def test_a_dropped_link_is_answered(page):
    page.run("document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, dataTransfer: new DataTransfer()}))")
    assert "no file" in page["problem"].text


def test_keyboard_and_accessible_names(page, image_file):
    page.send(image_file())
    page.done()
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    for element in page.all("input, select, button, a, [tabindex='0'], img, progress, table"):
        if element.tag_name in ("img",) and element.get_attribute("alt") == "":
            continue  # decorative: the viewer's label speaks for both
        assert element.accessible_name or not element.is_displayed(), element.get_attribute("outerHTML")
    reached = set()
    page.run("document.activeElement.blur()")
    for _ in range(60):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.add(page.run("return document.activeElement.id"))
        focused = page.driver.switch_to.active_element
        if focused.tag_name == "button":
            assert page.run("return getComputedStyle(arguments[0]).outlineStyle", focused) != "none"
    names = {
        "picture",
        "texture",
        "restore-auto",
        "format",
        "command",
        "download",
        "viewer",
        "split",
        "fit",
        "in",
        "mark",
    }
    assert names <= reached, names - reached


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_fits_every_width_and_is_readable(page, image_file, width, dark):
    page.open(width, 844, dark=dark)
    page.send(image_file(height=120, width=160))
    page.done()
    assert page["download"].rect["y"] + 40 < 844 and page["viewer"].rect["y"] < 300  # in the first view
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    for box in ("return document.documentElement.scrollWidth", "return arguments[0].scrollWidth - 2"):
        assert page.run(box, page["controls"]) <= width
    assert page["command"].rect["width"] < page["controls"].rect["width"]
    for selector in ("body", ".hint", ".problem", "#download", "header p", "summary", ".ends"):
        assert _contrast(page, selector) >= 4.5, selector
    if width < 500:
        assert page["viewer"].rect["y"] < page["controls"].rect["y"]  # the picture first, once there is one


def _contrast(page: Page, selector: str) -> float:
    """WCAG's ratio between an element's text and what is behind it."""
    script = """let element = document.querySelector(arguments[0]); const ink = getComputedStyle(element).color;
        while (element && getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)') element = element.parentElement;
        return [ink, getComputedStyle(element).backgroundColor]"""
    luminances = []
    for colour in page.run(script, selector):
        channels = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminances.append(float(linear @ (0.2126, 0.7152, 0.0722)))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)
