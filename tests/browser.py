"""Headless Chromium for the tests of pages: apt-get install chromium chromium-driver."""

import shutil
from pathlib import Path

import pytest
from selenium import webdriver

FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync hide-scrollbars disable-dev-shm-usage"
).split()


def start_browser(profile: Path) -> webdriver.Chrome:
    """A browser that keeps a log of its console and of what it asks for; where there is none, the test is skipped."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
