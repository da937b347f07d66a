"""The document for machines: Comprehensive SR, TID 1500 Measurement Report.

Positives are measurement groups with their probability and the region on the picture; all ten
findings are qualitative evaluations, each Present, Absent or Undetermined. A negative is never a
"Finding": software that lists findings would show it as one. Where a person says otherwise than the
network, its probability stands in the comment alone.
"""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.report import wording
from dicom_node.report.content import code, container, num, outline, text, uidref
from dicom_node.report.observer import observer_context
from dicom_node.report.result import AnalysisResult, FindingResult
from dicom_node.report.source import Source
from dicom_node.report.speech import Speech
from dicom_node.report.uids import DerivedUids


def comprehensive_tree(
    source: Source, result: AnalysisResult, uids: DerivedUids, speech: Speech
) -> Dataset:
    """Return the root content item."""
    return container(
        None,
        codes.MEASUREMENT_REPORT,
        [
            code("HAS CONCEPT MOD", codes.LANGUAGE, speech.concept),
            *observer_context(result),
            code("HAS CONCEPT MOD", codes.PROCEDURE_REPORTED, codes.ECG_12_LEAD),
            _library(source, result),
            container(
                "CONTAINS",
                codes.IMAGING_MEASUREMENTS,
                [
                    *_algorithm(result, speech),
                    *(
                        _group(source, result, uids, finding, speech)
                        for finding in _groups(source, result)
                    ),
                ],
            ),
            container(
                "CONTAINS", codes.QUALITATIVE_EVALUATIONS, _evaluations(source, result, speech)
            ),
        ],
        template="1500",
    )


def _groups(source: Source, result: AnalysisResult) -> Sequence[FindingResult]:
    """The positives; the likeliest finding if there is none; nothing where there are no regions.

    A report of this title with a group that has no region shows an empty pane in a widely used
    viewer, hence one group at least of a picture, the region in each, and none of anything else.
    """
    if not source.is_picture:
        return ()
    return result.present or result.ordered[:1]


def _library(source: Source, result: AnalysisResult) -> Dataset:
    """What was read: of a picture TID 1600 with those of its frames, else the object itself.

    An Image Library holds images alone; TID 1500 is extensible, and its root takes the reference.
    """
    if not source.is_picture:
        return source.item("CONTAINS", codes.SOURCE)
    described = [
        code("HAS ACQ CONTEXT", codes.MODALITY, codes.ELECTROCARDIOGRAPHY),
        num("HAS ACQ CONTEXT", codes.PIXEL_ROWS, str(source.rows), codes.PIXELS),
        num("HAS ACQ CONTEXT", codes.PIXEL_COLUMNS, str(source.columns), codes.PIXELS),
    ]
    entries = [source.item("CONTAINS", codes.SOURCE, frame, described) for frame in result.frames]
    group = container("CONTAINS", codes.IMAGE_LIBRARY_GROUP, entries)
    return container("CONTAINS", codes.IMAGE_LIBRARY, [group])


def _algorithm(result: AnalysisResult, speech: Speech) -> list[Dataset]:
    """TID 4019; here and once, since in the evaluations it would collide with their texts."""
    return [
        text("HAS CONCEPT MOD", codes.ALGORITHM_NAME, result.model_name),
        text("HAS CONCEPT MOD", codes.ALGORITHM_VERSION, result.model_version),
        text("HAS CONCEPT MOD", codes.ALGORITHM_PARAMETERS, wording.parameters(result, speech)),
    ]


def _group(
    source: Source,
    result: AnalysisResult,
    uids: DerivedUids,
    finding: FindingResult,
    speech: Speech,
) -> Dataset:
    """TID 1501; a finding that is not present is not named as one."""
    named = codes.FINDING_CODES[finding.key]
    tracked = wording.tracking_identifier(result, finding, speech)
    items = [
        text("HAS OBS CONTEXT", codes.TRACKING_IDENTIFIER, tracked),
        uidref("HAS OBS CONTEXT", codes.TRACKING_UID, uids.derive("tracking", finding.key)),
    ]
    if finding.verdict == "present":
        items.append(code("CONTAINS", codes.FINDING, named))
    if not finding.is_overridden:
        of_finding = [code("HAS CONCEPT MOD", codes.FINDING, named)]
        items.append(num("CONTAINS", codes.PROBABILITY, finding.percent, codes.PERCENT, of_finding))
    for frame, region in result.places_of(finding):
        pictured = source.item("SELECTED FROM", codes.SOURCE, frame)
        items.append(outline("CONTAINS", codes.OUTLINE, source.clip(region), pictured))
    return container("CONTAINS", codes.MEASUREMENT_GROUP, items, template="1501")


def _evaluations(source: Source, result: AnalysisResult, speech: Speech) -> list[Dataset]:
    """All ten findings, and in texts what some viewers do not print of numbers."""
    items = [text("CONTAINS", codes.SUMMARY, wording.summary(result, speech))]
    for finding in result.ordered:
        probability = num("HAS PROPERTIES", codes.PROBABILITY, finding.percent, codes.PERCENT)
        children = [] if finding.is_overridden else [probability]
        name = codes.FINDING_CODES[finding.key]
        items.append(code("CONTAINS", name, codes.VERDICTS[finding.verdict], children))
    say_pages = wording.read_together if source.is_picture else wording.page_read
    comment = wording.comment(result, speech, *say_pages(result, speech))
    items.append(text("CONTAINS", codes.COMMENT, comment))
    return items
