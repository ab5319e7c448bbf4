"""Times and pictures of the page of a running service: python -m tests.web.look URL PICTURE FOLDER."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.serve.test_browser import Page, start_browser


def first_pictures(page: Page, picture: Path) -> str:
    """Seconds from choosing a picture to the first tile or whole of ours, to the whole, and to another texture's tile."""
    page.open()
    page["picture"].send_keys(str(picture))
    started = time.monotonic()
    page.until(lambda: page["tile"].is_displayed() or page["download"].is_displayed())
    first = time.monotonic() - started
    page.done()
    whole = time.monotonic() - started
    said = f"{picture.name}: first of ours {first:.2f} s, whole {whole:.2f} s"
    if page["texture"].is_displayed():
        started = time.monotonic()
        page.set_range("texture", 0.35)
        page.until(lambda: page["tile"].is_displayed())
        said += f", tile of another texture {time.monotonic() - started:.2f} s"
    return said


def look(page: Page, picture: Path, folder: Path) -> None:
    """Screenshots at two widths in two schemes."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in ((1280, 900), (390, 844)):
        for dark in (False, True):
            page.open(width, height, dark=dark)
            page["picture"].send_keys(str(picture))
            page.done()
            time.sleep(0.3)
            page.driver.save_screenshot(str(folder / f"page-{width}-{'dark' if dark else 'light'}.png"))


if __name__ == "__main__":
    url, chosen, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as profile:
        browser = start_browser(Path(profile), Path(profile))
        try:
            page = Page(browser, url, Path(profile))
            for _ in range(3):
                print(first_pictures(page, chosen))
            look(page, chosen, target)
        finally:
            browser.quit()
