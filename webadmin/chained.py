"""Which rows the chain covers, and which columns of them: those that never change once written.

=============  ===================================================================================
Association    once it has ended
Commitment     once it was answered; the first answer stays
Instance       what arrived: UIDs, sender, door, time and the hash of its bytes, the patient's
               identification among them. Not its state, which the Transitions tell
Report         what was composed, with the hash of its bytes
Dispatch       what was decided when it was composed. Not its outcome, which Deliveries tell
Alert          what was raised. Not whether it is through yet
Review         what was verified. Not when it was composed
all others     every column: they are appended and never changed
=============  ===================================================================================

The columns of a table stay those of this list: with another column the rows that are chained
already would no longer fit their links.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Model, Q, QuerySet

from gateway import models as facts
from webadmin import models as judgements


@dataclass(frozen=True)
class Source:
    """One table of the chain.

    Attributes
    ----------
    columns
        What is hashed.
    at
        When it happened.
    instance, person
        The paths to the ECG it is about and to the name of who did it; empty: none.
    final
        When a row changes no more.
    """

    model: type[Model]
    columns: tuple[str, ...]
    at: str
    instance: str = ""
    person: str = ""
    final: Q = field(default_factory=Q)

    @property
    def table(self) -> str:
        """The name of the table in a link, the same on every database."""
        return self.model._meta.label_lower

    @property
    def name(self) -> str:
        """What a row is called."""
        return str(self.model._meta.model_name)

    def rows(self) -> QuerySet[Any]:
        """Return the rows that change no more."""
        return self.model._default_manager.filter(self.final).order_by("pk")

    def sha256_of(self, row: int, values: Sequence[Any]) -> str:
        """Return the hash of a row with these values of :attr:`columns`."""
        named = dict(zip(self.columns, values, strict=True))
        return sha256([self.table, row, named])


def sha256(value: Any) -> str:
    """Return the hash of a value in the form that is the same on every database."""
    text = json.dumps(
        canonical(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"),
        allow_nan=False,
    )  # fmt: skip
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical(value: Any) -> Any:
    """Return a value as it is hashed: times in UTC to the microsecond, whole numbers as such."""
    match value:
        case datetime.datetime():
            return value.astimezone(datetime.UTC).isoformat(timespec="microseconds")
        case dict():
            return {str(key): canonical(inner) for key, inner in value.items()}
        case list() | tuple():
            return [canonical(inner) for inner in value]
        case float() if value.is_integer():
            return int(value)  # jsonb of PostgreSQL does not tell 1e22 from the whole number
    return value


_DEED: Final = ("at", "actor", "address", "action", "subject", "patient_id", "accession_number",
                "uid", "detail")  # fmt: skip

SOURCES: Final = (
    Source(
        facts.Association,
        ("uid", "calling_title", "called_title", "address", "outcome", "reason",
         "instances_count", "started_at", "ended_at"),
        at="ended_at", instance="instances", person="calling_title",
        final=Q(ended_at__isnull=False),
    ),
    Source(
        facts.Instance,
        ("sop_instance_uid", "sop_class_uid", "sha256", "size_bytes", "calling_title", "door",
         "received_at"),
        at="received_at", instance="pk", person="calling_title",
    ),
    Source(
        facts.Transition,
        ("instance_id", "at", "from_state", "to_state", "event", "actor", "detail"),
        at="at", instance="instance", person="actor",
    ),
    Source(
        facts.Report,
        ("instance_id", "review_id", "kind", "language", "sop_instance_uid", "sha256",
         "size_bytes", "composed_at"),
        at="composed_at", instance="instance",
    ),
    Source(
        facts.Dispatch,
        ("report_id", "peer_id", "rule", "instead_of", "decided_at"),
        at="decided_at", instance="report__instance",
    ),
    Source(
        facts.Delivery,
        ("report_id", "peer_id", "attempted_at", "outcome", "status", "reason"),
        at="attempted_at", instance="report__instance",
    ),
    Source(
        facts.Commitment,
        ("peer_id", "transaction_uid", "asked_at", "answered_at", "outcome", "reason"),
        at="answered_at", instance="dispatches__report__instance",
        final=Q(answered_at__isnull=False),
    ),
    Source(
        facts.Alert,
        ("rule_id", "instance_id", "finding", "probability", "is_present", "accession_number",
         "raised_at"),
        at="raised_at", instance="instance",
    ),
    Source(
        facts.Review,
        ("instance_id", "number", "findings", "comment", "verifier_name", "verifier_id",
         "organization", "reviewed_at"),
        at="reviewed_at", instance="instance", person="verifier_id",
    ),
    Source(
        facts.Disposal,
        ("at", "actor", "kind", "uid", "sha256", "size_bytes", "policy", "detail"),
        at="at", person="actor",
    ),
    Source(
        facts.Promotion,
        ("model_version_id", "previous_id", "kind", "at", "actor", "reason"),
        at="at", person="actor",
    ),
    Source(judgements.Deed, _DEED, at="at", person="actor"),
    Source(
        judgements.Reading,
        ("instance_id", "reader_id", "role", "read_at", "decision", "findings", "comment",
         "shown_id", "guideline_id", "assignment_id", "took_s"),
        at="read_at", instance="instance", person="reader__username",
    ),
    Source(
        judgements.Label,
        ("instance_id", "findings", "source", "decided_at", "decided_by_id", "comment"),
        at="decided_at", instance="instance", person="decided_by__username",
    ),
    Source(
        judgements.TrainingSet,
        ("name", "sha256", "counts", "note", "frozen_at", "frozen_by_id"),
        at="frozen_at", person="frozen_by__username",
    ),
    Source(
        judgements.TrainingItem,
        ("training_set_id", "instance_id", "label_id", "findings", "patient_sha256", "split"),
        at="training_set__frozen_at", instance="instance",
    ),
    Source(
        judgements.SplitOpening,
        ("training_set_id", "run_id", "opened_at", "actor", "purpose"),
        at="opened_at", person="actor",
    ),
    Source(
        judgements.Evaluation,
        ("training_set_id", "candidate_id", "champion_id", "results", "is_better", "reasons",
         "evaluated_at"),
        at="evaluated_at",
    ),
)  # fmt: skip

BY_TABLE: Final = {source.table: source for source in SOURCES}
