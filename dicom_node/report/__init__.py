"""Reports: one result, up to six documents in a language, each a function of its inputs alone.

``compose`` makes them all of the same `AnalysisResult`, so that they cannot disagree: a Basic Text
SR for people (TID 2000), a Comprehensive SR for machines (TID 1500, also as Enhanced or
Comprehensive 3D SR), and a page with the ECG and its findings as picture and as PDF. The same
inputs give the same bytes and UIDs: a report composed again after a crash is the same report.

==================  ===============================================================
``result``          AnalysisResult, FindingResult, Joined, Device, ReportError
``review``          Review, Verifier, Predecessor: the same result, verified by a person
``source``          the object: what may be referred to, what is copied from it
``attributes``      the attributes that are copied, and which values are legal
``region``          corners on a picture
``uids``            UIDs as functions of source, result and language
``speech``          a language and its translator
``wording``         the sentences all documents share
``statements``      what a source says of itself
``names``           names as people write them
``content``         content items
``observer``        the person and the device that observed
``basic_text``      the tree for people
``comprehensive``   the tree for machines
``document``        the modules around a tree; the file
``tree``            a report as people read it
``page``            what stands where on the page
``identity``        whose it is, as the page tells it
``sheet``           lines, boxes and a picture on a page
``fonts``           fonts, and which texts they show
``painting``        a page as pixels
``printing``        a page as PDF
``pictured``        the modules around either
==================  ===============================================================
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.report.basic_text import basic_text_tree
from dicom_node.report.comprehensive import comprehensive_tree
from dicom_node.report.document import (
    BASIC_TEXT,
    COMPREHENSIVE,
    KINDS,
    PDF,
    RESULT_PAGE,
    structured_report,
    to_bytes,
)
from dicom_node.report.result import (
    AnalysisResult,
    Corners,
    Device,
    FindingResult,
    FontMissing,
    Joined,
    ReportError,
    Verdict,
)
from dicom_node.report.review import Predecessor, Review, Verifier
from dicom_node.report.source import Source
from dicom_node.report.speech import ENGLISH, Speech
from dicom_node.report.tree import ReportNode, render_tree, tree
from dicom_node.report.uids import UUID_ROOT, DerivedUids

__all__ = [
    "ENGLISH",
    "OUTPUTS",
    "AnalysisResult",
    "Corners",
    "Device",
    "FindingResult",
    "FontMissing",
    "Joined",
    "Predecessor",
    "Raster",
    "ReportError",
    "ReportNode",
    "Review",
    "Speech",
    "Verdict",
    "Verifier",
    "compose",
    "render_tree",
    "to_bytes",
    "tree",
]

Raster = npt.NDArray[np.uint8]

#: What can be composed, by name.
OUTPUTS: Final = {kind.name: kind for kind in KINDS}


def compose(
    source: Dataset,
    result: AnalysisResult,
    *,
    outputs: Sequence[str] = (BASIC_TEXT.name, COMPREHENSIVE.name),
    speech: Speech = ENGLISH,
    picture: Callable[[], Raster] | None = None,
    predecessors: Mapping[str, Predecessor] | None = None,
    uid_root: str = UUID_ROOT,
) -> dict[str, Dataset]:
    """Compose the reports of one analysed object.

    Parameters
    ----------
    source : Dataset
        The object's header, in any character set.
    result : AnalysisResult
        Of a network, or as a person has it (`Review.of`): then the documents are verified.
    outputs : sequence of str
        Names of `OUTPUTS`.
    speech : Speech, optional
        The language of all sentences; codes stay English.
    picture : callable, optional
        Returns the page that was read, uint8 (rows, columns) or (rows, columns, 3), in whose
        coordinates the result's region is; called once, and only for outputs that show it.
    predecessors : mapping of str to Predecessor, optional
        What each of the outputs replaces, where it does.
    uid_root : str, optional
        An organisation's own UID root of at most 39 characters; 2.25 by default.

    Returns
    -------
    dict of str to Dataset
        By the names asked for, in their order, with File Meta Information.

    Raises
    ------
    ReportError
        The source lacks what no report can be without; or, as FontMissing, there is nothing to draw
        a page with. Trying again cannot help.
    ValueError
        An output that does not exist, or one that needs a picture and got none.
    """
    if unknown := set(outputs) - set(OUTPUTS):
        raise ValueError(f"expected outputs of {', '.join(OUTPUTS)}, received {unknown}")
    checked = Source.of(source)
    uids = DerivedUids.of(checked, result, uid_root, speech)
    replaced = predecessors or {}
    made = {}
    for name in outputs:
        kind = OUTPUTS[name]
        if kind in (RESULT_PAGE, PDF):
            continue
        if kind == BASIC_TEXT:
            tree = basic_text_tree(checked, result, speech)
        else:
            tree = comprehensive_tree(checked, result, uids, speech)
        made[name] = structured_report(
            kind, checked, result, tree=tree, uids=uids, predecessor=replaced.get(name)
        )
    if len(made) < len(set(outputs)):
        if picture is None:
            raise ValueError("expected a picture for an output that shows it")
        made |= _pages(outputs, checked, result, speech, picture(), uids, replaced)
    return {name: made[name] for name in outputs}


def _pages(
    outputs: Sequence[str],
    source: Source,
    result: AnalysisResult,
    speech: Speech,
    raster: Raster,
    uids: DerivedUids,
    replaced: Mapping[str, Predecessor],
) -> dict[str, Dataset]:
    # What draws and prints takes time and memory that most processes never need.
    from dicom_node.report.page import page_of
    from dicom_node.report.pictured import pdf_report, result_page

    sheet = page_of(source, result, speech, rows=raster.shape[0], columns=raster.shape[1])
    made = {}
    if RESULT_PAGE.name in outputs:
        made[RESULT_PAGE.name] = result_page(
            source,
            result,
            sheet=sheet,
            raster=raster,
            uids=uids,
            predecessor=replaced.get(RESULT_PAGE.name),
        )
    if PDF.name in outputs:
        made[PDF.name] = pdf_report(
            source,
            result,
            sheet=sheet,
            raster=raster,
            speech=speech,
            uids=uids,
            predecessor=replaced.get(PDF.name),
        )
    return made
