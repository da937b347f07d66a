"""What a spooled object says about itself: its study, and the reports made for it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from django.utils import timezone, translation
from pydicom import Dataset, dcmread
from pydicom.uid import UID

import gateway
from dicom_node import report
from dicom_node.charset import decode_dataset
from dicom_node.image import read_header
from gateway import loops, pages
from gateway.models import Finding, Installation, Instance, Report, Review, Study
from gateway.outputs import Language, Output
from gateway.retention import picture_file, report_file


class SourceRejected(ValueError):
    """The header contradicts what was promised or lacks what no report can be without."""


def study_of(path: Path, instance: Instance) -> Study:
    """Return the study of a spooled object as its header has it, for :func:`keep_studies`.

    The instance learns its modality and station on the way; they are not saved here.

    Raises
    ------
    SourceRejected
        The Data Set is not the object its C-STORE announced (PS3.4 B.2.2), or names no study.
    ImageError
        The file has no readable header.
    """
    header = decode_dataset(read_header(path))
    announced, found = instance.sop_instance_uid, str(header.get("SOPInstanceUID", "") or "")
    if found != announced:
        raise SourceRejected("the SOP Instance UIDs of the C-STORE and of the Data Set differ")
    if ours := loops.own_result(header, announced):
        raise SourceRejected(ours)
    study_uid = str(header.get("StudyInstanceUID", "") or "")
    if not UID(study_uid).is_valid or not UID(found).is_valid:
        raise SourceRejected(
            "Study or SOP Instance UID missing or not a UID: no report could refer to the object"
        )
    instance.modality = _text(header, "Modality", 16)
    instance.station_name = _text(header, "StationName", 64)
    return Study(
        study_instance_uid=study_uid,
        patient_id=_text(header, "PatientID", 128),
        patient_name=_text(header, "PatientName", 512),
        accession_number=_text(header, "AccessionNumber", 64),
        study_date=_date(header),
        description=_text(header, "StudyDescription", 256),
    )


def keep_studies(instances: Sequence[Instance]) -> None:
    """Give the instances of a batch the rows of their studies; those that are new are made.

    The first object of a study and patient says what the row keeps.
    """
    seen: list[tuple[Instance, Study]] = []
    for instance in instances:
        if (study := instance.study) is not None and study._state.adding:
            seen.append((instance, study))
    new = {_study_key(study): study for _, study in reversed(seen)}
    if not new:
        return
    # In one order everywhere, so that two Analysts never wait for each other.
    Study.objects.bulk_create((new[key] for key in sorted(new)), ignore_conflicts=True)
    uids = {uid for uid, _ in new}
    rows = {_study_key(row): row for row in Study.objects.filter(study_instance_uid__in=uids)}
    for instance, study in seen:
        instance.study = rows[_study_key(study)]


def _study_key(study: Study) -> tuple[str, str]:
    return study.study_instance_uid, study.patient_id


def _text(header: Dataset, keyword: str, length: int) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).replace("\x00", "").strip()[:length]


def _date(header: Dataset) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(  # noqa: DTZ007 (a DICOM date has no zone)
            _text(header, "StudyDate", 8), "%Y%m%d"
        ).date()
    except ValueError:
        return None


_PAGES: Final = (Output.RESULT_PAGE, Output.PDF)
#: The languages of reports, as RFC 5646 names them.
_CODES: Final = {Language.ENGLISH: "en-US", Language.CHINESE: "zh-CN"}


def reports_of(
    instance: Instance,
    outputs: Sequence[str] = (Output.BASIC_TEXT, Output.COMPREHENSIVE),
    language: str = Language.ENGLISH,
    review: Review | None = None,
) -> dict[Output, tuple[Dataset, bytes]]:
    """Compose reports of an analysed instance: a function of its file and its rows alone.

    Parameters
    ----------
    outputs : sequence of str
        Values of `Output`.
    language : str
        A value of `Language`.
    review : Review, optional
        Of the instance: the reports are verified, and name those that they replace.

    Returns
    -------
    dict of Output to (Dataset, bytes)
        Each report and its file, in the order asked for.

    Raises
    ------
    DicomError
        The source cannot be reported on; trying again cannot help.
    """
    path = picture_file(instance)
    source = read_header(path)
    number = instance.frame_number or 1
    names = [str(Output(output)) for output in outputs]
    result = result_of(instance, source)
    documents = report.compose(
        source,
        result if review is None else review_of(review).of(result),
        outputs=names,
        predecessors={} if review is None else predecessors_of(review, names, language),
        speech=speech_of(language),
        picture=lambda: pages.raster(path, number),
    )
    return {Output(name): (ds, report.to_bytes(ds)) for name, ds in documents.items()}


def review_of(review: Review) -> report.Review:
    """Return the row of a review as the value that its reports are composed from."""
    words = {"undecided": "undetermined"}
    return report.Review(
        number=review.number,
        verdicts={
            key: cast(report.Verdict, words.get(said, said))
            for key, said in review.findings.items()
        },
        verifier=report.Verifier(review.verifier_name, review.organization, review.verifier_id),
        verified_at=timezone.localtime(review.reviewed_at),
        comment=review.comment,
    )


def predecessors_of(
    review: Review, outputs: Sequence[str], language: str
) -> dict[str, report.Predecessor]:
    """Return what the reports of a review replace: the latest of its kind, in its language first.

    Where there is none of that kind, it is another of the network's or of an earlier review: a
    Peer that refuses a kind now may have taken it then. A Structured Report replaces one.

    Raises
    ------
    OSError
        The bytes of a report, which tell its series, cannot be read.
    """
    rows = Report.objects.filter(instance=review.instance_id).select_related("review")
    earlier = [row for row in rows if row.review is None or row.review.number < review.number]
    found: dict[str, report.Predecessor] = {}
    for output in outputs:
        possible = [row for row in earlier if row.kind not in _PAGES or output in _PAGES]
        if possible:
            last = max(
                possible,
                key=lambda row: (
                    row.kind == output,
                    row.language == language,
                    row.review.number if row.review else 0,
                    row.pk,
                ),
            )
            found[output] = _predecessor(last)
    return found


def _predecessor(row: Report) -> report.Predecessor:
    tags = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"]
    ds = dcmread(report_file(row), specific_tags=tags)
    return report.Predecessor(ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID)


def speech_of(language: str) -> report.Speech:
    """Return a language with the sentences of its translation files."""
    named = Language(language)
    if named == Language.ENGLISH:
        return report.ENGLISH

    def translate(sentence: str) -> str:
        with translation.override(named.value):
            return translation.gettext(sentence)

    return report.Speech(_CODES[named], translate)


def result_of(instance: Instance, source: Dataset) -> report.AnalysisResult:
    """Return the rows of an analysed instance as the value a report is composed from."""
    version = instance.model_version
    if version is None or instance.analysed_at is None:
        raise ValueError(f"instance {instance.pk}: expected an analysed row")
    validated = version.card.get("validated", {})
    several = len(instance.pages) > 1 or int(source.get("NumberOfFrames") or 1) > 1
    regions = {page["number"]: _corners(page.get("region")) for page in instance.pages}
    # As fetched with the batch, where the caller did that.
    found = [row for row in instance.findings.all() if row.model_version_id == version.pk]
    return report.AnalysisResult(
        findings=tuple(
            report.FindingResult(
                key=row.key,
                probability=row.probability,
                threshold=row.threshold,
                verdict=cast(report.Verdict, row.verdict),
                validated=bool(validated.get(row.key, False)),
                frame_number=row.frame_number if several else None,
                region=regions.get(row.frame_number),
            )
            for row in found
        ),
        model_name=version.name,
        model_version=version.version,
        model_sha256=version.sha256,
        frame_number=instance.frame_number if several else None,
        region=_corners(instance.region),
        device=device(),
        analysed_at=timezone.localtime(instance.analysed_at),
        quality_note=None,
        statements=pages.statements(picture_file(instance)),
        joined=_joined(instance, found, regions),
    )


def _joined(
    instance: Instance, found: Sequence[Finding], regions: Mapping[int, report.Corners | None]
) -> tuple[report.Joined, ...]:
    """Return the halves that findings of the instance were read on; see `gateway.reading`.

    Halves that were no ECG together are joined as well, but nothing was read on them.
    """
    read = {row.frame_number for row in found}
    pairs = {
        (page["number"], page["joined_with"])
        for page in instance.pages
        if page.get("joined_with", 0) > page["number"]
    }
    return tuple(
        report.Joined(pair, (regions.get(pair[0]), regions.get(pair[1])))
        for pair in sorted(pairs)
        if read & set(pair)
    )


def _corners(region: Any) -> report.Corners | None:
    return tuple((float(x), float(y)) for x, y in region) if region else None


def device() -> report.Device:
    """Return this installation as the observer of its reports (TID 1004)."""
    installation = Installation.load()
    return report.Device(
        uid=installation.device_uid,
        name="ECG Gateway",
        manufacturer="ECG Gateway",
        model="ECG Gateway",
        serial=installation.serial,
        software_version=gateway.__version__,
    )
