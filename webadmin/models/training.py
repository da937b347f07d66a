"""What a network is trained on, how a training went, and how good its network is."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Instance, ModelVersion
from webadmin.models.appended import Appended
from webadmin.models.readings import Label


class TrainingSet(Appended):
    """A frozen list of labelled ECGs; ``sha256`` is of its items and cannot be had twice."""

    name = models.CharField(max_length=100, unique=True)
    sha256 = models.CharField("SHA-256 of the items", max_length=64)
    counts = models.JSONField(
        default=dict, help_text="Split: key of the finding: how many show it."
    )
    note = models.CharField(max_length=1000, blank=True)
    frozen_at = models.DateTimeField(default=timezone.now)
    frozen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-frozen_at", "-pk")
        permissions = (
            ("freeze_trainingset", "Can freeze a training set"),
            ("export_trainingset", "Can export a training set"),
        )

    def __str__(self) -> str:
        return self.name


class TrainingItem(Appended):
    """One ECG of a training set, with the label of that time. A patient is in one split alone."""

    class Split(models.TextChoices):
        TRAINING = "training", _("Training")
        VALIDATION = "validation", _("Validation")
        TEST = "test", _("Test, locked")

    training_set = models.ForeignKey(TrainingSet, on_delete=models.PROTECT, related_name="items")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="training_items")
    label = models.ForeignKey(Label, on_delete=models.PROTECT, related_name="training_items")
    findings = models.JSONField(help_text="Key of the finding: its word.")
    patient_sha256 = models.CharField("keyed hash of the patient", max_length=64)
    split = models.CharField(max_length=16, choices=Split)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("training_set", "instance"), name="item_is_in_once"),
        )
        indexes = (models.Index(fields=("training_set", "split"), name="item_by_split"),)

    def __str__(self) -> str:
        return f"ECG {self.instance_id} in {self.training_set_id}"


class TrainingRun(models.Model):
    """One training on a frozen set, as far as it has come. A lease says who is at it."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        TRAINING = "training", _("Training")
        TRAINED = "trained", _("Trained, to be evaluated")
        EVALUATED = "evaluated", _("Evaluated")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    training_set = models.ForeignKey(TrainingSet, on_delete=models.PROTECT, related_name="runs")
    start = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="+", help_text="It begins from this."
    )
    candidate = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="runs"
    )
    recipe = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    reason = models.CharField(max_length=300, blank=True)
    progress = models.FloatField(default=0.0, help_text="0 to 1.")
    time_left_s = models.FloatField(null=True, blank=True)
    curve = models.JSONField(default=list, help_text="One entry an epoch.")
    is_cancel_asked = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=timezone.now)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    evaluation_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Who had it evaluated again; empty: whoever started it.",
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-started_at", "-pk")
        indexes = (models.Index(fields=("state", "lease_expires_at"), name="run_waiting"),)

    def __str__(self) -> str:
        return f"Run {self.pk} on {self.training_set}"


class Evaluation(Appended):
    """A candidate beside the champion on the locked test split of one set."""

    training_set = models.ForeignKey(
        TrainingSet, on_delete=models.PROTECT, related_name="evaluations"
    )
    candidate = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="evaluations"
    )
    champion = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    results = models.JSONField(help_text="Class by class, of both, with intervals and n.")
    is_better = models.BooleanField(help_text="Whether the rule for a promotion is met.")
    reasons = models.JSONField(default=list, help_text="Why, or why not.")
    evaluated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-evaluated_at", "-pk")
        permissions = (("promote_modelversion", "Can promote a network and roll back"),)

    def __str__(self) -> str:
        return f"{self.candidate} beside {self.champion}"


class SplitOpening(Appended):
    """The locked test split of a set was opened: by whom and what for."""

    training_set = models.ForeignKey(TrainingSet, on_delete=models.PROTECT, related_name="openings")
    run = models.ForeignKey(
        TrainingRun, null=True, blank=True, on_delete=models.PROTECT, related_name="openings"
    )
    opened_at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=64)
    purpose = models.CharField(max_length=300)

    class Meta:
        ordering = ("-opened_at", "-pk")

    def __str__(self) -> str:
        return f"{self.training_set}: {self.purpose}"
