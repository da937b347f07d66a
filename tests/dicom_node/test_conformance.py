"""The conformance statement says what the code does."""

from __future__ import annotations

from collections.abc import Iterable

from report_cases import result, source

from dicom_node import report
from dicom_node.conformance import STATEMENT, renew, tables
from dicom_node.contexts import EXPLICIT_LE, REPORT_CLASSES


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


def test_the_documents_are_as_stated() -> None:
    statement = STATEMENT.read_text()
    documents = report.compose(source(), result()).values()

    def row(name: str, values: Iterable[str]) -> str:
        return f"| {name} | " + " | ".join(values) + " |"

    titles = [ds.ConceptNameCodeSequence[0] for ds in documents]
    assert (
        row(
            "title",
            (f'({t.CodeValue}, {t.CodingSchemeDesignator}, "{t.CodeMeaning}")' for t in titles),
        )
        in statement
    )
    assert row("series number", (str(ds.SeriesNumber) for ds in documents)) in statement
    for ds, column in zip(documents, (1, 2), strict=True):
        (stated,) = [line for line in statement.splitlines() if line.startswith("| template |")]
        template = ds.ContentTemplateSequence[0].TemplateIdentifier
        assert stated.split("|")[column + 1].strip().startswith(f"TID {template}")
        flags = f"{ds.CompletionFlag}, {ds.PreliminaryFlag}, {ds.VerificationFlag}"
        assert f"| flags | {flags} | the same |" in statement
        assert ds.file_meta.TransferSyntaxUID == EXPLICIT_LE
        assert ds.SOPClassUID in REPORT_CLASSES
        assert len(ds.SOPInstanceUID) <= 44
        assert not any(element.tag.is_private for element in ds.iterall())
