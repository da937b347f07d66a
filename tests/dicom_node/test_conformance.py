"""The conformance statement says what the code does."""

from __future__ import annotations

from dicom_node.conformance import STATEMENT, renew, tables


def test_the_tables_are_those_of_the_code() -> None:
    statement = STATEMENT.read_text()
    assert renew(statement) == statement, "run: python -m dicom_node.conformance"
    for name in tables():
        assert f"<!-- table: {name} -->" in statement


def test_limits_and_defaults_are_those_of_the_code() -> None:
    from django.conf import settings

    from dicom_node.scp import Limits

    statement = STATEMENT.read_text()
    limits = Limits()
    assert f"{limits.max_pdu_bytes:,} bytes" in statement
    assert limits.max_object_bytes == 1 << 30
    assert f"after {limits.idle_timeout_s:.0f} seconds" in statement
    assert f"{settings.ECG_MAX_ASSOCIATIONS} (`ECG_MAX_ASSOCIATIONS`)" in statement
    assert f"`ECG_DICOM_TIMEOUT_S`, {settings.ECG_DICOM_TIMEOUT_S:.0f} seconds" in statement
