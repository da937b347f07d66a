"""The document for people: Basic Text SR, TID 2000 Basic Diagnostic Imaging Report.

Readable in every viewer. NUM and SCOORD are not allowed in this class (PS3.3 section A.35.1), so
numbers stand in the text.
"""

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.report import wording
from dicom_node.report.content import code, container, text
from dicom_node.report.observer import observer_context
from dicom_node.report.result import AnalysisResult
from dicom_node.report.source import Source
from dicom_node.report.speech import Speech
from dicom_node.report.statements import stated


def basic_text_tree(source: Source, result: AnalysisResult, speech: Speech) -> Dataset:
    """Return the root content item."""
    say_pages = wording.read_together if source.is_picture else wording.page_read
    descriptions = [
        wording.algorithm(result, speech, *say_pages(result, speech)),
        *stated(result, speech),
    ]
    return container(
        None,
        codes.ECG_REPORT,
        [
            code("HAS CONCEPT MOD", codes.LANGUAGE, speech.concept),
            *observer_context(result),
            container(
                "CONTAINS",
                codes.IMPRESSIONS,
                [
                    text("CONTAINS", codes.IMPRESSION, wording.impression(result, speech)),
                    *(
                        text("CONTAINS", codes.COMMENT, said)
                        for said in wording.by_reader(result, speech)
                    ),
                ],
            ),
            container(
                "CONTAINS",
                codes.FINDINGS,
                [
                    text("CONTAINS", codes.FINDING, wording.finding_line(result, finding, speech))
                    for finding in result.ordered
                ],
            ),
            container(
                "CONTAINS",
                codes.PROCEDURE_DESCRIPTIONS,
                [text("CONTAINS", codes.PROCEDURE_DESCRIPTION, said) for said in descriptions],
            ),
            container(
                "CONTAINS",
                codes.KEY_IMAGES,
                [
                    source.item("CONTAINS", codes.BEST_ILLUSTRATION, frame)
                    for frame in source.frames_to_name(result.frames)
                ],
            ),
        ],
        template="2000",
    )
