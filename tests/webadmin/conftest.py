"""People of the Desk, and a spool of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_browsers import driven_chromium, playwright_chromium
from desk_people import READ, make_user, signed_in
from django.test import Client, override_settings
from playwright.sync_api import Browser
from pytest_django import Settings
from selenium import webdriver


@pytest.fixture(scope="session", autouse=True)
def static_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have a folder of collected static files, though nobody collected any."""
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static")):
        yield


@pytest.fixture(autouse=True)
def spool_folder(settings: Settings, tmp_path: Path) -> Path:
    """Keep what a test spools in a folder of its own."""
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    return tmp_path / "spool"


@pytest.fixture
def chief(db: None) -> Client:
    """Return the browser of a superuser."""
    return signed_in(make_user("chief", is_superuser=True))


@pytest.fixture
def reader(db: None) -> Client:
    """Return the browser of somebody who may look at everything and change nothing."""
    return signed_in(make_user("reader", *READ))


@pytest.fixture
def stranger(db: None) -> Client:
    """Return the browser of a member of staff without any permission."""
    return signed_in(make_user("stranger"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run a headless Chromium for the tests of a module; each opens contexts of its own."""
    with playwright_chromium() as browser:
        yield browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """Run a headless Chromium for one test."""
    with driven_chromium(tmp_path / "profile") as driver:
        yield driver
