"""What people judged, and what was made of it: append-only where a judgement must not change.

Facts made by machines are in :mod:`gateway.models` and are read-only here.
"""

from webadmin.models.audit import AuditLink, Deed
from webadmin.models.curation import Assignment, Guideline
from webadmin.models.readings import Label, Reading
from webadmin.models.training import (
    Evaluation,
    SplitOpening,
    TrainingItem,
    TrainingRun,
    TrainingSet,
)

__all__ = [
    "Assignment",
    "AuditLink",
    "Deed",
    "Evaluation",
    "Guideline",
    "Label",
    "Reading",
    "SplitOpening",
    "TrainingItem",
    "TrainingRun",
    "TrainingSet",
]
