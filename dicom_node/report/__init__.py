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

from pydicom.dataset import Dataset

from dicom_node.report.basic_text import basic_text_tree
from dicom_node.report.comprehensive import comprehensive_tree
from dicom_node.report.document import BASIC_TEXT, COMPREHENSIVE, document, to_bytes
from dicom_node.report.result import (
    AnalysisResult,
    Device,
    FindingResult,
    ReportError,
    Verdict,
)
from dicom_node.report.source import Source
from dicom_node.report.tree import ReportNode, render_tree, tree
from dicom_node.report.uids import UUID_ROOT, DerivedUids

__all__ = [
    "AnalysisResult",
    "Device",
    "FindingResult",
    "ReportError",
    "ReportNode",
    "Verdict",
    "compose",
    "render_tree",
    "to_bytes",
    "tree",
]


def compose(
    source: Dataset, result: AnalysisResult, *, uid_root: str = UUID_ROOT
) -> tuple[Dataset, Dataset]:
    """Compose the reports of one analysed picture.

    Parameters
    ----------
    source : Dataset
        The picture's header, in any character set.
    result : AnalysisResult
    uid_root : str, optional
        An organisation's own UID root of at most 39 characters; 2.25 by default.

    Returns
    -------
    (Dataset, Dataset)
        Basic Text SR and Comprehensive SR, with File Meta Information.

    Raises
    ------
    ReportError
        The source lacks what no report can be without. Trying again cannot help.
    """
    checked = Source.of(source)
    uids = DerivedUids.of(checked, result, uid_root)
    for_people = basic_text_tree(checked, result)
    for_machines = comprehensive_tree(checked, result, uids)
    return (
        document(BASIC_TEXT, checked, result, tree=for_people, uids=uids),
        document(COMPREHENSIVE, checked, result, tree=for_machines, uids=uids),
    )
