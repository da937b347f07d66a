"""Who keeps what for good: what we asked of archives, and what senders asked of us.

Storage Commitment (PS3.4 Annex J) is asked with an N-ACTION under a Transaction UID of its own and
answered with an N-EVENT-REPORT, on the same association or another one, at any time or never.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models.peers import Peer
from gateway.outputs import UID_LENGTH


class Commitment(models.Model):
    """One request of ours to a Peer to commit itself to what it has stored.

    What it covers are the Dispatches that name it. A request that is made again has another
    Transaction UID: an answer that comes late says to which of them it belongs.
    """

    class Outcome(models.TextChoices):
        ASKED = "asked", _("Asked")
        COMMITTED = "committed", _("Committed to all")
        PARTLY = "partly", _("Not committed to all")
        REFUSED = "refused", _("Request refused")
        UNANSWERED = "unanswered", _("Not answered in time")

    peer = models.ForeignKey(Peer, on_delete=models.PROTECT, related_name="commitments")
    transaction_uid = models.CharField("Transaction UID", max_length=UID_LENGTH, unique=True)
    asked_at = models.DateTimeField(default=timezone.now)
    answer_due_at = models.DateTimeField(help_text="An answer that is not here by then is missing.")
    answered_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.ASKED)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-asked_at", "-pk")
        indexes = (models.Index(fields=("outcome", "answer_due_at"), name="commitment_overdue"),)

    def __str__(self) -> str:
        return f"{self.peer.title}: {self.get_outcome_display().lower()}"


class CustodyRequest(models.Model):
    """A sender's request that we commit ourselves to what it sent, before it deletes its copy.

    Answered from the bytes in the spool, never from the rows alone.
    """

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("To be answered")
        ANSWERED = "answered", _("Answered")
        FAILED = "failed", _("Answer not delivered")

    calling_title = models.CharField("sender", max_length=16)
    address = models.CharField(max_length=64, blank=True)
    transaction_uid = models.CharField("Transaction UID", max_length=UID_LENGTH)
    references = models.JSONField(help_text="SOP Class and SOP Instance UID of each object.")
    requested_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.WAITING)
    failures = models.JSONField(
        default=list, blank=True, help_text="SOP Instance UID and reason of what we do not keep."
    )
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-requested_at", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=("calling_title", "transaction_uid"), name="custody_is_asked_once"
            ),
        )
        indexes = (models.Index(fields=("outcome", "not_before"), name="custody_waiting"),)

    def __str__(self) -> str:
        return f"{self.calling_title}: {self.get_outcome_display().lower()}"
