"""The conformance statement says what the code does."""

from __future__ import annotations

import numpy as np
from report_cases import result, source

from dicom_node import report
from dicom_node.commitment import MAX_RESULT_BYTES
from dicom_node.conformance import STATEMENT, renew, tables
from dicom_node.contexts import EXPLICIT_LE, REPORT_CLASSES
from dicom_node.custody import MAX_REFERENCES


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


def test_what_storage_commitment_takes_is_that_of_the_code() -> None:
    statement = STATEMENT.read_text()
    assert f"at most {MAX_REFERENCES:,} objects" in statement
    assert f"more than {MAX_REFERENCES:,} references, or more than 1 MB" in statement
    assert MAX_RESULT_BYTES == 1 << 20


def blank() -> report.Raster:
    return np.full((900, 1200), 255, np.uint8)


def test_the_documents_are_as_stated() -> None:
    statement = STATEMENT.read_text()
    made = report.compose(source(), result(), outputs=list(report.OUTPUTS), picture=blank)
    for ds in made.values():
        name = REPORT_CLASSES[ds.SOPClassUID].removesuffix(" Storage").removesuffix(" Image")
        columns = [name, "", "", str(ds.SeriesNumber), ds.Modality]
        if ds.Modality == "SR":
            title = ds.ConceptNameCodeSequence[0]
            coded = (title.CodeValue, title.CodingSchemeDesignator, f'"{title.CodeMeaning}"')
            columns[1] = f"TID {ds.ContentTemplateSequence[0].TemplateIdentifier}"
            columns[2] = f"({', '.join(coded)})"
            flags = (ds.CompletionFlag, ds.PreliminaryFlag, ds.VerificationFlag)
            assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
        assert "|".join(["", *(f" {c} " if c else " " for c in columns), ""]) in statement, name
        assert "UNVERIFIED" in ds.SeriesDescription
        assert ds.file_meta.TransferSyntaxUID == EXPLICIT_LE
        assert len(ds.SOPInstanceUID) <= 44
        assert not any(element.tag.is_private for element in ds.iterall())
    assert len(made) == len(REPORT_CLASSES)


def test_the_documents_of_a_review_are_as_stated() -> None:
    statement = STATEMENT.read_text()
    found = result()
    verified = report.Review(
        number=1,
        verdicts={finding.key: finding.verdict for finding in found.findings},
        verifier=report.Verifier("Test^Reader", "Hospital", "1"),
        verified_at=found.analysed_at,
    ).of(found)
    made = report.compose(source(), verified, outputs=list(report.OUTPUTS), picture=blank)
    assert {int(ds.SeriesNumber) for ds in made.values()} == set(range(9101, 9107))
    for ds in made.values():
        assert f"| {ds.SeriesDescription} |" in statement
        if ds.Modality == "SR":
            flags = (ds.CompletionFlag, ds.PreliminaryFlag, ds.VerificationFlag)
            assert f"| {', '.join(flags)} |" in statement
            (scheme,) = ds.CodingSchemeIdentificationSequence
            assert scheme.CodingSchemeDesignator in statement
