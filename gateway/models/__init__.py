"""The facts machines made: read-only for people, except what people set up.

(Neural networks live in the top-level package ``models``; this package holds tables.)

===============  ==================================================================
``peers``        Peer, RefusedOutput; Installation
``instances``    Association, Study, Instance, ModelVersion, Finding, Transition
``reports``      Report, Dispatch, Delivery
``routing``      Rule
``alerts``       AlertRule, Alert
``backfill``     Backfill
``proof``        Commitment, CustodyRequest
``circuits``     Circuit, Line
``reviews``      Review
``promotions``   Promotion
``shadows``      ShadowReading
``retention``    Disposal
===============  ==================================================================
"""

from gateway.models.alerts import Alert, AlertRule
from gateway.models.backfill import Backfill
from gateway.models.circuits import Circuit, Line
from gateway.models.instances import (
    Association,
    Door,
    Finding,
    Instance,
    ModelVersion,
    Study,
    Transition,
)
from gateway.models.peers import Installation, Peer, RefusedOutput
from gateway.models.promotions import Promotion
from gateway.models.proof import Commitment, CustodyRequest
from gateway.models.reports import Delivery, Dispatch, Report
from gateway.models.retention import Disposal
from gateway.models.reviews import Review
from gateway.models.routing import Rule
from gateway.models.shadows import ShadowReading

__all__ = [
    "Alert",
    "AlertRule",
    "Association",
    "Backfill",
    "Circuit",
    "Commitment",
    "CustodyRequest",
    "Delivery",
    "Dispatch",
    "Disposal",
    "Door",
    "Finding",
    "Installation",
    "Instance",
    "Line",
    "ModelVersion",
    "Peer",
    "Promotion",
    "RefusedOutput",
    "Report",
    "Review",
    "Rule",
    "ShadowReading",
    "Study",
    "Transition",
]
