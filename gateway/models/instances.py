"""What came to us, what was seen in it, and every line of its life."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.outputs import UID_LENGTH
from gateway.states import State


class Door(models.TextChoices):
    """How an object came to us."""

    STORE = "store", "C-STORE"
    SUBMIT = "submit", _("Command line")
    UPLOAD = "upload", _("Upload in the Desk")
    BACKFILL = "backfill", _("Backfill")


class Association(models.Model):
    """One DICOM association somebody asked us for, accepted or not (PS3.8)."""

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted", _("Accepted, still open")
        REJECTED = "rejected", _("Rejected")
        RELEASED = "released", _("Released")
        ABORTED = "aborted", _("Aborted")

    uid = models.CharField(max_length=64, unique=True)
    calling_title = models.CharField(max_length=64, blank=True)
    called_title = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome)
    reason = models.CharField(max_length=200, blank=True)
    instances_count = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-started_at",)
        indexes = (models.Index(fields=("-started_at",), name="association_newest"),)

    def __str__(self) -> str:
        return f"{self.calling_title or 'unknown'} {self.get_outcome_display().lower()}"


class Study(models.Model):
    """The study an instance belongs to, as its header says.

    One row for each Study Instance UID *and* patient: two patients under one UID are somebody's
    mistake, and must never be shown as one.
    """

    study_instance_uid = models.CharField(
        "Study Instance UID", max_length=UID_LENGTH, db_index=True
    )
    patient_id = models.CharField("patient ID", max_length=128, blank=True, db_index=True)
    patient_name = models.CharField(max_length=512, blank=True)
    accession_number = models.CharField(max_length=64, blank=True, db_index=True)
    study_date = models.DateField(null=True, blank=True)
    description = models.CharField(max_length=256, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "studies"
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("study_instance_uid", "patient_id"), name="study_is_of_one_patient"
            ),
        )

    def __str__(self) -> str:
        return self.accession_number or self.study_instance_uid


class ModelVersion(models.Model):
    """A network that has made findings here: named, versioned, hashed."""

    name = models.CharField(max_length=64)
    version = models.CharField(max_length=32)
    sha256 = models.CharField("SHA-256 of the weights", max_length=64)
    card = models.JSONField(default=dict)
    first_used_at = models.DateTimeField(default=timezone.now)
    folder = models.CharField(
        max_length=300, blank=True, help_text="Where its artifact is; empty: not kept here."
    )
    shadow_since = models.DateTimeField(
        null=True, blank=True, help_text="It reads along since then; nothing it says is sent."
    )

    class Meta:
        ordering = ("-first_used_at",)
        constraints = (
            # The same weights calibrated anew are another version, with another card.
            models.UniqueConstraint(
                fields=("name", "version", "sha256"), name="model_version_is_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class Instance(models.Model):
    """One SOP Instance we took: its bytes are in the spool before this row exists.

    `sha256` is of the Data Set as received, without the file meta information, so that the same
    object is recognised whoever wrote the file around it.
    """

    sop_instance_uid = models.CharField("SOP Instance UID", max_length=UID_LENGTH, db_index=True)
    sop_class_uid = models.CharField("SOP Class UID", max_length=UID_LENGTH)
    transfer_syntax_uid = models.CharField("Transfer Syntax UID", max_length=UID_LENGTH)
    sha256 = models.CharField("SHA-256 of the Data Set", max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    spool_name = models.CharField(max_length=100, unique=True)
    calling_title = models.CharField("sender", max_length=16, db_index=True)
    door = models.CharField(
        max_length=16, choices=Door, default=Door.STORE, help_text="How it came to us."
    )
    modality = models.CharField(max_length=16, blank=True)
    station_name = models.CharField(max_length=64, blank=True)
    association = models.ForeignKey(
        Association, null=True, blank=True, on_delete=models.SET_NULL, related_name="instances"
    )
    study = models.ForeignKey(
        Study, null=True, blank=True, on_delete=models.PROTECT, related_name="instances"
    )
    conflict_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="conflicts"
    )
    received_at = models.DateTimeField(default=timezone.now, db_index=True)

    state = models.CharField(max_length=16, choices=State, default=State.RECEIVED)
    state_since = models.DateTimeField(default=timezone.now)
    failed_in = models.CharField(max_length=16, choices=State, blank=True)
    reason = models.CharField(
        max_length=300, blank=True, help_text="Why it was rejected, failed or set aside."
    )

    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(default=timezone.now)
    is_held = models.BooleanField(
        default=False, help_text="Let go unattempted: it may go on before its time."
    )
    last_error = models.CharField(max_length=300, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    model_version = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="instances"
    )
    analysed_at = models.DateTimeField(null=True, blank=True)
    frame_number = models.PositiveIntegerField(null=True, blank=True)
    region = models.JSONField(
        null=True, blank=True, help_text="Corners of the tracing, (column, row) in the picture."
    )
    quality = models.JSONField(default=dict, blank=True)
    pages = models.JSONField(
        default=list,
        blank=True,
        help_text="Of an object with several pages: what became of each, first to last.",
    )
    aged_out_at = models.DateTimeField(
        null=True, blank=True, help_text="When its bytes were removed; the row stays."
    )

    class Meta:
        verbose_name = "ECG"
        ordering = ("-received_at", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=("sop_instance_uid", "sha256"), name="instance_bytes_kept_once"
            ),
            models.UniqueConstraint(
                fields=("sop_instance_uid",),
                condition=models.Q(conflict_of__isnull=True),
                name="instance_uid_means_one_object",
            ),
        )
        indexes = (
            # What claim() and the sweeper look for. Not a partial index: SQLite cannot prove that
            # a bound parameter meets its condition, and would scan the table.
            models.Index(fields=("state", "not_before"), name="instance_waiting"),
            # What the Desk counts and lists: one state, newest first.
            models.Index(fields=("state", "-received_at"), name="instance_listed"),
        )

    def __str__(self) -> str:
        return self.sop_instance_uid


class Finding(models.Model):
    """What a network said about one class in one instance."""

    class Verdict(models.TextChoices):
        PRESENT = "present", _("Present")
        ABSENT = "absent", _("Absent")
        UNDETERMINED = "undetermined", _("Undetermined")

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="findings")
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="findings"
    )
    key = models.CharField(max_length=16)
    probability = models.FloatField()
    threshold = models.FloatField()
    verdict = models.CharField(max_length=16, choices=Verdict)
    frame_number = models.PositiveIntegerField(
        null=True, blank=True, help_text="The page it was read on, of several."
    )

    class Meta:
        ordering = ("-probability", "key")
        constraints = (
            models.UniqueConstraint(
                fields=("instance", "model_version", "key"), name="finding_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(probability__gte=0.0, probability__lte=1.0),
                name="finding_probability_is_one",
            ),
        )
        indexes = (models.Index(fields=("key", "verdict"), name="finding_by_verdict"),)

    def __str__(self) -> str:
        return f"{self.key} {self.probability:.3f} {self.verdict}"


class Transition(models.Model):
    """One line of an instance's life: appended, never changed."""

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="transitions")
    at = models.DateTimeField(default=timezone.now)
    from_state = models.CharField(max_length=16, choices=State, blank=True)
    to_state = models.CharField(max_length=16, choices=State)
    event = models.CharField(max_length=24)
    actor = models.CharField(max_length=64)
    detail = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.from_state or 'nothing'} -> {self.to_state}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("a Transition is appended once and never changed")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("a Transition is never deleted")
