"""Reading stays quick with a hundred thousand ECGs: as many queries, and hardly more work."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, make_ecg, make_model_version
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway.models import Instance
from webadmin.models import Reading

pytestmark = pytest.mark.django_db

LIST = "/desk/reading/"
MANY = 100_000

_SERIES = {
    "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {n})",
    "postgresql": "WITH s(i) AS (SELECT generate_series(1, {n}))",
}
_INSTANCES = """
INSERT INTO gateway_instance (sop_instance_uid, sop_class_uid, transfer_syntax_uid, sha256,
    size_bytes, spool_name, calling_title, door, modality, station_name, received_at, state,
    state_since, failed_in, reason, attempts, not_before, is_held, last_error, model_version_id,
    quality, pages)
{series} SELECT '1.2.' || i, '1.2', '1.2', '{sha}', 0, 'x/' || i, 'CART' || (i % 7), 'store', '',
    '', {at}, 'proven', {at}, '', '', 0, {at}, false, '', {version}, '{{}}', '[]' FROM s
"""
_FINDINGS = """
INSERT INTO gateway_finding (instance_id, model_version_id, key, probability, threshold, verdict)
SELECT id, model_version_id, CASE id % 3 WHEN 0 THEN 'af' WHEN 1 THEN 'pvc' ELSE 'normal' END,
    0.9, 0.5, CASE id % 11 WHEN 0 THEN 'undetermined' ELSE 'present' END
FROM gateway_instance WHERE spool_name LIKE 'x/%'
"""
_READINGS = """
INSERT INTO webadmin_reading (instance_id, reader_id, role, read_at, decision, findings, comment)
SELECT id, {reader}, 'reader', received_at,
    CASE id % 50 WHEN 1 THEN 'overridden' ELSE 'confirmed' END, '{{}}', ''
FROM gateway_instance WHERE spool_name LIKE 'x/%' AND id % 10 > 0
"""
_AT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', '+' || (i * 60) || ' seconds')",
    "postgresql": "timestamptz '2026-01-01' + i * interval '1 minute'",
}


@pytest.fixture
def cardiologist() -> User:
    return make_user("okafor", "view_instance", "add_reading")


def fill(count: int, reader: User) -> None:
    """Make so many analysed ECGs, nine in ten of them read."""
    version = make_model_version()
    series = _SERIES[connection.vendor].format(n=count)
    with connection.cursor() as cursor:
        cursor.execute(
            _INSTANCES.format(
                series=series, sha="5" * 64, at=_AT[connection.vendor], version=version.pk
            )
        )
        cursor.execute(_FINDINGS)
        cursor.execute(_READINGS.format(reader=reader.pk))
        cursor.execute("ANALYZE")


def cpu_s(work: Callable[[], object], times: int = 3) -> float:
    """Return the processor time of the quickest of some runs, in seconds."""
    took = []
    for _ in range(times):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def unit_s() -> float:
    """Return the processor time of a fixed piece of work: 0.2 s on a slow core of 2020."""

    def count() -> int:
        return sum(number * number % 7 for number in range(2_000_000))

    return cpu_s(count)


def opens(browser: Client, query: str = "") -> None:
    answer = browser.get(f"{LIST}?{query}")
    assert answer.status_code == 200
    assert b"reading-card" in answer.content


def test_with_a_hundred_thousand_ecgs_the_list_opens_and_the_next_one_comes_as_quickly(
    cardiologist: User,
) -> None:
    browser = signed_in(cardiologist)
    fill(MANY, cardiologist)
    unit = unit_s()
    opens(browser)
    for query in (
        "", "show=all", "show=read", "doubt=undetermined", "doubt=disagreement&show=read",
        "finding=af", "sender=CART3", "order=newest", "finding=pvc&show=all",
    ):  # fmt: skip
        with CaptureQueriesContext(connection) as asked:
            took = cpu_s(lambda query=query: opens(browser, query), times=1)  # type: ignore[misc]
        assert len(asked) <= 12, "\n".join(each["sql"] for each in asked)
        assert not any("COUNT(" in each["sql"] for each in asked)
        assert took < 5 * unit, query  # a second, where the unit is a fifth of one

    middle = Instance.objects.filter(readings=None).order_by("-received_at")[4000]
    assert cpu_s(lambda: opens(browser, f"after={middle.pk}"), times=1) < 5 * unit

    unread = list(Instance.objects.filter(readings=None).order_by("-received_at")[:6])
    saving = [save_and_go_on(browser, row) for row in unread]
    assert Reading.objects.filter(instance__in=unread).count() == len(unread)
    assert min(saving) < unit, saving  # 200 ms


def save_and_go_on(browser: Client, row: Instance) -> float:
    """Confirm an ECG and open the next; return the processor time in seconds."""
    address = reverse("reading", args=[row.pk])
    sent = {"decision": "confirmed", "latest": "", "shown": row.model_version_id}
    _ten(row)
    began = time.process_time()
    answer = browser.post(address, sent)
    assert answer.status_code == 302
    assert browser.get(answer["Location"]).status_code == 200
    return time.process_time() - began


def _ten(row: Instance) -> None:
    """Give an ECG the other nine findings."""
    row.findings.all().delete()
    analyse(row, {"af": 0.93})


def test_save_and_next_asks_the_database_a_fixed_number_of_things(
    cardiologist: User, spool_folder: Path
) -> None:
    browser = signed_in(cardiologist)
    rows = [analyse(make_ecg(), {"af": 0.93, "pac": 0.4}) for _ in range(12)]
    counts = []
    for row in reversed(rows[6:]):
        address = reverse("reading", args=[row.pk])
        sent = {"decision": "confirmed", "latest": "", "shown": row.model_version_id}
        with CaptureQueriesContext(connection) as asked:
            answer = browser.post(address, sent)
            browser.get(answer["Location"])
        counts.append(len(asked))
    assert Reading.objects.count() == 6
    assert len(set(counts[1:])) == 1, counts
    assert counts[-1] <= 50, "\n".join(each["sql"] for each in asked)
