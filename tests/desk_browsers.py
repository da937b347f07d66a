"""Headless Chromium before the Desk: through Playwright, and through its own WebDriver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from programs import require
from selenium import webdriver


@contextmanager
def playwright_chromium() -> Iterator[Browser]:
    """Run Debian's Chromium under Playwright."""
    # Playwright runs an event loop on this thread, in which Django expects no query by default.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(require("chromium")),
                args=["--no-sandbox", "--disable-dev-shm-usage"],
            )
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def driven_chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Run Debian's Chromium under WebDriver, with a profile of its own; it calls only the Desk."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(require("chromium"))
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(str(require("chromedriver")))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()
