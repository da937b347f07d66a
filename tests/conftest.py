"""Fixtures for the whole suite: real peers, the folder of real ECGs, and Hypothesis's manners."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from peers import Orthanc, Postgres, StoreSCP, Valkey
from real_ecgs import find_real_ecgs

# No deadline: two shared cores make single examples slow at random. In CI the examples are the
# same every time, so that a red run is about the change and can be repeated.
settings.register_profile("local", deadline=None, max_examples=60)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# Where the same tests run on the other database as well.
settings.register_profile("again", settings.get_profile("ci"), max_examples=15)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "local"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: two workers that share the files then end together."""
    items.sort(key=lambda item: not item.get_closest_marker("life"))


@pytest.fixture(scope="session")
def corpus_dir() -> Path:
    """Return the folder of real ECGs that ECG_CORPUS_DIR names."""
    return find_real_ecgs(os.environ)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Postgres]:
    """Run one PostgreSQL cluster for the whole session; do not stop it in a test."""
    with Postgres() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: Postgres) -> Iterator[str]:
    """Yield the DATABASE_URL of an empty PostgreSQL database of this test's own."""
    with postgres_cluster.database() as url:
        yield url


@pytest.fixture(scope="session")
def session_orthanc() -> Iterator[Orthanc]:
    """Run one archive for the whole session; use `orthanc`, which empties it first."""
    with Orthanc() as archive:
        yield archive


@pytest.fixture
def orthanc(session_orthanc: Orthanc) -> Orthanc:
    """Return an empty archive. A test that stops or kills one starts its own."""
    session_orthanc.clear()
    return session_orthanc


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """Run a broker of this test's own, to be stopped and started at will."""
    with Valkey() as broker:
        yield broker


@pytest.fixture
def store_scp() -> Iterator[StoreSCP]:
    """Run DCMTK's storescp for this test."""
    with StoreSCP() as archive:
        yield archive
