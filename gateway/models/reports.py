"""What we made of the findings, for whom, and every attempt to bring it there."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models.instances import Instance
from gateway.models.peers import Peer
from gateway.models.proof import Commitment
from gateway.models.reviews import Review
from gateway.outputs import UID_LENGTH, Language, Output


class Report(models.Model):
    """One object we composed of a result: its bytes are in the spool and never change."""

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="reports")
    review = models.ForeignKey(
        Review,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="reports",
        help_text="What a person verified; empty: the network's result, unverified.",
    )
    kind = models.CharField(max_length=24, choices=Output)
    language = models.CharField(max_length=8, choices=Language, default=Language.ENGLISH)
    sop_instance_uid = models.CharField("SOP Instance UID", max_length=UID_LENGTH, unique=True)
    sop_class_uid = models.CharField("SOP Class UID", max_length=UID_LENGTH)
    sha256 = models.CharField("SHA-256 of the file", max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    spool_name = models.CharField(max_length=100, unique=True)
    composed_at = models.DateTimeField(default=timezone.now)
    aged_out_at = models.DateTimeField(
        null=True, blank=True, help_text="When its bytes were removed; the row stays."
    )

    class Meta:
        ordering = ("-composed_at", "kind")
        constraints = (
            models.UniqueConstraint(
                fields=("instance", "kind", "language"),
                condition=models.Q(review__isnull=True),
                name="report_is_composed_once",
            ),
            models.UniqueConstraint(
                fields=("review", "kind", "language"), name="review_is_reported_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.sop_instance_uid}"


class Dispatch(models.Model):
    """A report meant for a Peer: decided once, when it was composed, whatever the rules say later.

    It ends as stored; as refused; as replaced: the Peer refuses this kind of object, and another
    report of the same instance is meant for it instead; or as withdrawn: a person has said that
    the Peer is not to get it any more.
    """

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        STORED = "stored", _("Stored")
        REPLACED = "replaced", _("Refused, another was sent")
        REFUSED = "refused", _("Refused")
        WITHDRAWN = "withdrawn", _("No longer meant")

    class Means(models.TextChoices):
        COMMITMENT = "commitment", _("Storage Commitment")
        QUERY = "query", "C-FIND"
        QIDO = "qido", "QIDO-RS"

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="dispatches")
    peer = models.ForeignKey(Peer, on_delete=models.PROTECT, related_name="dispatches")
    rule = models.CharField(
        max_length=100, blank=True, help_text="Name of the routing rule; empty: no rule."
    )
    instead_of = models.CharField(
        max_length=24,
        choices=Output,
        blank=True,
        help_text="What was wanted where the Peer refuses that; empty: this itself.",
    )
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.WAITING)
    decided_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    # That a Peer answered Success is no proof that it keeps the object.
    commitment = models.ForeignKey(
        Commitment,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="dispatches",
        help_text="The latest request that covers it.",
    )
    proof_due_at = models.DateTimeField(
        null=True,
        blank=True,
        db_index=True,
        help_text="When proof is asked for next; empty: nothing is left to ask.",
    )
    proof_attempts = models.PositiveIntegerField(default=0)
    is_read_back = models.BooleanField(
        default=False, help_text="Commitment led nowhere: it is looked up instead."
    )
    proof_looks = models.PositiveSmallIntegerField(
        default=0, help_text="How often it was looked up and not found."
    )
    proof_error = models.CharField(max_length=300, blank=True)
    proven_at = models.DateTimeField(null=True, blank=True)
    proven_by = models.CharField(max_length=16, choices=Means, blank=True)

    class Meta:
        verbose_name_plural = "dispatches"
        ordering = ("-decided_at", "-pk")
        constraints = (
            models.UniqueConstraint(fields=("report", "peer"), name="report_is_meant_once"),
        )
        indexes = (
            models.Index(fields=("outcome", "decided_at"), name="dispatch_waiting"),
            # What the Desk lists as unproven, oldest first.
            models.Index(fields=("outcome", "proven_at", "ended_at"), name="dispatch_unproven"),
        )

    def __str__(self) -> str:
        return f"{self.report} for {self.peer.title}"


class Delivery(models.Model):
    """One attempt to store one report at one Peer."""

    class Outcome(models.TextChoices):
        STORED = "stored", _("Stored")
        WARNING = "warning", _("Stored with a warning")
        RETRY = "retry", _("Not now, try later")
        REFUSED = "refused", _("Refused")

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="deliveries")
    peer = models.ForeignKey(Peer, on_delete=models.PROTECT, related_name="deliveries")
    attempted_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=16, choices=Outcome)
    status = models.PositiveIntegerField("DIMSE status", null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ("-attempted_at", "-pk")
        indexes = (models.Index(fields=("-attempted_at",), name="delivery_newest"),)

    def __str__(self) -> str:
        return f"{self.peer.title}: {self.get_outcome_display().lower()}"
