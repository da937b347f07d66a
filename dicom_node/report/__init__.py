"""Structured Reports: one result, two documents, each a function of its inputs alone.

``compose`` makes a Basic Text SR for people (TID 2000) and a Comprehensive SR for machines
(TID 1500) of the same `AnalysisResult`, so that they cannot disagree. The same source and result
give the same bytes and UIDs: a report composed again after a crash is the same report.

==================  ===============================================================
``result``          AnalysisResult, FindingResult, Device, ReportError
``source``          the picture: what may be referred to, what is copied from it
``attributes``      the attributes that are copied, and which values are legal
``uids``            UIDs as functions of source and result
``wording``         the sentences both documents share
``content``         content items
``observer``        the device that observed
``basic_text``      the tree for people
``comprehensive``   the tree for machines
``document``        the modules around a tree; the file
``tree``            a report as people read it
==================  ===============================================================
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.report.basic_text import basic_text_tree
from dicom_node.report.comprehensive import comprehensive_tree
from dicom_node.report.document import (
    BASIC_TEXT,
    COMPREHENSIVE,
    COMPREHENSIVE_3D,
    ENHANCED,
    structured_report,
    to_bytes,
)
from dicom_node.report.result import (
    AnalysisResult,
    Device,
    FindingResult,
    ReportError,
    Verdict,
)
from dicom_node.report.source import Source
from dicom_node.report.speech import ENGLISH, Speech
from dicom_node.report.tree import ReportNode, render_tree, tree
from dicom_node.report.uids import UUID_ROOT, DerivedUids

__all__ = [
    "ENGLISH",
    "OUTPUTS",
    "AnalysisResult",
    "Device",
    "FindingResult",
    "ReportError",
    "ReportNode",
    "Speech",
    "Verdict",
    "compose",
    "render_tree",
    "to_bytes",
    "tree",
]

Raster = npt.NDArray[np.uint8]

#: What can be composed, by name.
OUTPUTS: Final = {
    kind.name: kind for kind in (BASIC_TEXT, COMPREHENSIVE, COMPREHENSIVE_3D, ENHANCED)
}


def compose(
    source: Dataset,
    result: AnalysisResult,
    *,
    outputs: Sequence[str] = (BASIC_TEXT.name, COMPREHENSIVE.name),
    speech: Speech = ENGLISH,
    picture: Callable[[], Raster] | None = None,  # noqa: ARG001
    uid_root: str = UUID_ROOT,
) -> dict[str, Dataset]:
    """Compose the reports of one analysed object.

    Parameters
    ----------
    source : Dataset
        The object's header, in any character set.
    result : AnalysisResult
    outputs : sequence of str
        Names of `OUTPUTS`.
    speech : Speech, optional
        The language of all sentences; codes stay English.
    picture : callable, optional
        Returns the page that was read, uint8 (rows, columns) or (rows, columns, 3), in whose
        coordinates the result's region is; called once, and only for outputs that show it.
    uid_root : str, optional
        An organisation's own UID root of at most 39 characters; 2.25 by default.

    Returns
    -------
    dict of str to Dataset
        By the names asked for, in their order, with File Meta Information.

    Raises
    ------
    ReportError
        The source lacks what no report can be without. Trying again cannot help.
    ValueError
        An output that does not exist, or one that needs a picture and got none.
    """
    if unknown := set(outputs) - set(OUTPUTS):
        raise ValueError(f"expected outputs of {', '.join(OUTPUTS)}, received {unknown}")
    checked = Source.of(source)
    uids = DerivedUids.of(checked, result, uid_root, speech)
    made = {}
    for name in outputs:
        if name == BASIC_TEXT.name:
            tree = basic_text_tree(checked, result, speech)
        else:
            tree = comprehensive_tree(checked, result, uids, speech)
        made[name] = structured_report(OUTPUTS[name], checked, result, tree=tree, uids=uids)
    return made
