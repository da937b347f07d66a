"""The document for people: Basic Text SR, TID 2000 Basic Diagnostic Imaging Report.

Readable in every viewer. NUM and SCOORD are not allowed in this class (PS3.3 section A.35.1), so
numbers stand in the text.
"""

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.report import wording
from dicom_node.report.content import code, container, image, text
from dicom_node.report.observer import observer_context
from dicom_node.report.result import AnalysisResult
from dicom_node.report.source import Source
from dicom_node.report.speech import Speech


def basic_text_tree(source: Source, result: AnalysisResult, speech: Speech) -> Dataset:
    """Return the root content item."""
    reference = source.reference(result.frame_number)
    return container(
        None,
        codes.ECG_REPORT,
        [
            code("HAS CONCEPT MOD", codes.LANGUAGE, speech.concept),
            *observer_context(result.device),
            container(
                "CONTAINS",
                codes.IMPRESSIONS,
                [text("CONTAINS", codes.IMPRESSION, wording.impression(result))],
            ),
            container(
                "CONTAINS",
                codes.FINDINGS,
                [
                    text("CONTAINS", codes.FINDING, wording.finding_line(finding))
                    for finding in result.ordered
                ],
            ),
            container(
                "CONTAINS",
                codes.PROCEDURE_DESCRIPTIONS,
                [text("CONTAINS", codes.PROCEDURE_DESCRIPTION, wording.algorithm(result))],
            ),
            container(
                "CONTAINS",
                codes.KEY_IMAGES,
                [image("CONTAINS", codes.BEST_ILLUSTRATION, reference)],
            ),
        ],
        template="2000",
    )
