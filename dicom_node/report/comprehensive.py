"""The document for machines: Comprehensive SR, TID 1500 Measurement Report.

Positives are measurement groups with their probability and the region on the picture; all ten
findings are qualitative evaluations, each Present, Absent or Undetermined. A negative is never a
"Finding": software that lists findings would show it as one.
"""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.report import wording
from dicom_node.report.content import code, container, image, num, outline, text, uidref
from dicom_node.report.observer import observer_context
from dicom_node.report.result import AnalysisResult, FindingResult
from dicom_node.report.source import Source
from dicom_node.report.speech import Speech
from dicom_node.report.uids import DerivedUids


def comprehensive_tree(
    source: Source, result: AnalysisResult, uids: DerivedUids, speech: Speech
) -> Dataset:
    """Return the root content item."""
    groups = result.present or result.ordered[:1]
    return container(
        None,
        codes.MEASUREMENT_REPORT,
        [
            code("HAS CONCEPT MOD", codes.LANGUAGE, speech.concept),
            *observer_context(result.device),
            code("HAS CONCEPT MOD", codes.PROCEDURE_REPORTED, codes.ECG_12_LEAD),
            _image_library(source, result),
            container(
                "CONTAINS",
                codes.IMAGING_MEASUREMENTS,
                [
                    *_algorithm(result),
                    *(_group(source, result, uids, finding) for finding in groups),
                ],
            ),
            container("CONTAINS", codes.QUALITATIVE_EVALUATIONS, _evaluations(result)),
        ],
        template="1500",
    )


def _image_library(source: Source, result: AnalysisResult) -> Dataset:
    """TID 1600, one image."""
    entry = image(
        "CONTAINS",
        codes.SOURCE,
        source.reference(result.frame_number),
        [
            code("HAS ACQ CONTEXT", codes.MODALITY, codes.ELECTROCARDIOGRAPHY),
            num("HAS ACQ CONTEXT", codes.PIXEL_ROWS, str(source.rows), codes.PIXELS),
            num("HAS ACQ CONTEXT", codes.PIXEL_COLUMNS, str(source.columns), codes.PIXELS),
        ],
    )
    group = container("CONTAINS", codes.IMAGE_LIBRARY_GROUP, [entry])
    return container("CONTAINS", codes.IMAGE_LIBRARY, [group])


def _algorithm(result: AnalysisResult) -> list[Dataset]:
    """TID 4019; here and once, since in the evaluations it would collide with their texts."""
    return [
        text("HAS CONCEPT MOD", codes.ALGORITHM_NAME, result.model_name),
        text("HAS CONCEPT MOD", codes.ALGORITHM_VERSION, result.model_version),
        text(
            "HAS CONCEPT MOD",
            codes.ALGORITHM_PARAMETERS,
            f"Weights SHA-256 {result.model_sha256}. {wording.thresholds(result)}",
        ),
    ]


def _group(
    source: Source, result: AnalysisResult, uids: DerivedUids, finding: FindingResult
) -> Dataset:
    """TID 1501 for a positive; for the likeliest finding, without naming it one, if there is none.

    A report of this title with a group that has no region shows an empty pane in a widely used
    viewer, hence one group at least, and the region in each.
    """
    named = codes.FINDING_CODES[finding.key]
    items = [
        text("HAS OBS CONTEXT", codes.TRACKING_IDENTIFIER, wording.tracking_identifier(finding)),
        uidref("HAS OBS CONTEXT", codes.TRACKING_UID, uids.derive("tracking", finding.key)),
    ]
    if finding.verdict == "present":
        items.append(code("CONTAINS", codes.FINDING, named))
    items.append(
        num(
            "CONTAINS",
            codes.PROBABILITY,
            finding.percent,
            codes.PERCENT,
            [code("HAS CONCEPT MOD", codes.FINDING, named)],
        )
    )
    pictured = image("SELECTED FROM", codes.SOURCE, source.reference(result.frame_number))
    items.append(outline("CONTAINS", codes.OUTLINE, _region(source, result), pictured))
    return container("CONTAINS", codes.MEASUREMENT_GROUP, items, template="1501")


def _region(source: Source, result: AnalysisResult) -> Sequence[tuple[float, float]]:
    """The tracing within the stored picture's edges; without one, the whole picture."""
    columns, rows = float(source.columns), float(source.rows)
    whole = [(0.0, 0.0), (columns, 0.0), (columns, rows), (0.0, rows)]
    if result.region is None:
        return whole
    inside = [(min(max(x, 0.0), columns), min(max(y, 0.0), rows)) for x, y in result.region]
    # A region beside the picture shrinks to a line or a point, which marks nothing.
    return inside if _area_px(inside) > 0.0 else whole


def _area_px(corners: Sequence[tuple[float, float]]) -> float:
    """The area of a polygon, by the shoelace formula."""
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2.0


def _evaluations(result: AnalysisResult) -> list[Dataset]:
    """All ten findings, and in texts what some viewers do not print of numbers."""
    items = [text("CONTAINS", codes.SUMMARY, wording.summary(result))]
    for finding in result.ordered:
        probability = num("HAS PROPERTIES", codes.PROBABILITY, finding.percent, codes.PERCENT)
        name = codes.FINDING_CODES[finding.key]
        items.append(code("CONTAINS", name, codes.VERDICTS[finding.verdict], [probability]))
    items.append(text("CONTAINS", codes.COMMENT, wording.comment(result)))
    return items
