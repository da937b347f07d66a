"""What people said of an ECG, and what counts as true of it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Instance, ModelVersion
from webadmin.models.appended import Appended
from webadmin.models.curation import Assignment, Guideline


class Reading(Appended):
    """One reading of one ECG by one person: never changed; who errs reads again.

    ``findings`` has one word for each of the ten keys of :mod:`models.labels`.
    """

    class Word(models.TextChoices):
        PRESENT = "present", _("Present")
        ABSENT = "absent", _("Absent")
        UNDECIDED = "undecided", _("Undecided")

    class Decision(models.TextChoices):
        CONFIRMED = "confirmed", _("Confirmed")
        OVERRIDDEN = "overridden", _("Overridden")
        UNDECIDED = "undecided", _("Undecided")
        BLINDED = "blinded", _("Read without the network's findings")
        UNREADABLE = "unreadable", _("Cannot be read")

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="readings")
    reader = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="readings"
    )
    role = models.CharField(max_length=64, help_text="Of the reader at that time.")
    read_at = models.DateTimeField(default=timezone.now)
    decision = models.CharField(max_length=16, choices=Decision)
    findings = models.JSONField(default=dict, help_text="Key of the finding: its word.")
    comment = models.CharField(max_length=1000, blank=True)
    shown = models.ForeignKey(
        ModelVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Whose findings the reader saw; empty: none.",
    )
    guideline = models.ForeignKey(
        Guideline, null=True, blank=True, on_delete=models.PROTECT, related_name="readings"
    )
    assignment = models.OneToOneField(
        Assignment, null=True, blank=True, on_delete=models.PROTECT, related_name="reading"
    )
    took_s = models.FloatField("seconds", null=True, blank=True)

    class Meta:
        ordering = ("-read_at", "-pk")
        indexes = (models.Index(fields=("instance", "reader", "read_at"), name="reading_by_who"),)
        permissions = (("verify_report", "Can verify a report in their name"),)

    def __str__(self) -> str:
        return f"Reading {self.pk} of ECG {self.instance_id}"


class Label(Appended):
    """What counts as true of an ECG from a moment on; the latest row of an instance holds."""

    class Source(models.TextChoices):
        SINGLE = "single", _("One reader")
        AGREED = "agreed", _("Two readers who agree")
        ADJUDICATED = "adjudicated", _("Adjudicated")
        IMPORTED = "imported", _("Imported")

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="labels")
    findings = models.JSONField(help_text="Key of the finding: its word.")
    source = models.CharField(max_length=16, choices=Source)
    readings = models.ManyToManyField(Reading, blank=True, related_name="labels")
    decided_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    comment = models.CharField(max_length=1000, blank=True)

    CONSENSUS = (Source.AGREED, Source.ADJUDICATED)
    """Sources of which no single reader decides."""
    SETTLED = (*CONSENSUS, Source.IMPORTED)
    """What one reader's word in routine does not replace."""

    class Meta:
        ordering = ("-decided_at", "-pk")
        indexes = (models.Index(fields=("instance", "-id"), name="label_latest"),)
        permissions = (
            ("import_label", "Can import labels"),
            ("export_label", "Can export labels"),
        )

    def __str__(self) -> str:
        return f"Label {self.pk} of ECG {self.instance_id}"
