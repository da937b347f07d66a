"""Which ECGs are read again to learn from, by whom, and by which rules."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Instance


class Guideline(models.Model):
    """A version of the rules by which readers label: its text does not change once it was used."""

    version = models.CharField(max_length=32, unique=True)
    text = models.TextField(help_text="What counts as present, and what does not.")
    in_force_since = models.DateTimeField(default=timezone.now)
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-in_force_since",)

    def __str__(self) -> str:
        return self.version


class Assignment(models.Model):
    """One reading that is wanted of one ECG: first, second or the adjudication between them.

    The first two are blinded: neither sees the network's findings nor the other's.
    """

    class Queue(models.TextChoices):
        UNDETERMINED = "undetermined", _("The network is undecided")
        DISAGREEMENT = "disagreement", _("Reader and network disagree")
        RARE = "rare", _("A rare finding")
        UNFAMILIAR = "unfamiliar", _("Unlike the training")
        RANDOM = "random", _("Drawn at random")
        REQUESTED = "requested", _("Requested by a person")

    class Kind(models.TextChoices):
        FIRST = "first", _("First reading")
        SECOND = "second", _("Second reading")
        ADJUDICATION = "adjudication", _("Adjudication")

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="assignments")
    queue = models.CharField(max_length=16, choices=Queue)
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.FIRST)
    priority = models.FloatField(default=0.0, help_text="Higher comes first.")
    created_at = models.DateTimeField(default=timezone.now)
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="assignments",
    )
    taken_until = models.DateTimeField(
        null=True, blank=True, help_text="Free for others after that, unless it was read."
    )
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-priority", "created_at", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=("instance", "queue", "kind"), name="reading_is_wanted_once"
            ),
        )
        indexes = (models.Index(fields=("done_at", "kind", "-priority"), name="assignment_open"),)
        permissions = (("adjudicate", "Can adjudicate between two readers"),)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of ECG {self.instance_id}"
