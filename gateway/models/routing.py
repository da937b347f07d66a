"""Which results go where."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from gateway.models.peers import Peer
from gateway.outputs import FINDINGS, validate_outputs


class Rule(models.Model):
    """Which results go where, and as what. The first active rule that fits decides.

    Empty conditions fit everything. Where no rule fits, every destination Peer gets its own
    outputs: a result is not lost in a gap between rules.
    """

    position = models.PositiveIntegerField(default=100, help_text="The lowest is asked first.")
    name = models.CharField(max_length=100, unique=True)
    is_active = models.BooleanField(default=True)

    sender = models.CharField(max_length=16, blank=True, help_text="AE title it came from.")
    station_name = models.CharField(max_length=64, blank=True)
    modality = models.CharField(max_length=16, blank=True)
    description = models.CharField(
        max_length=100, blank=True, help_text="Part of the study or series description."
    )
    finding = models.CharField(
        max_length=16, blank=True, choices=FINDINGS, help_text="Called present, or as probable."
    )
    min_probability = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="0 to 1; empty: the finding is called present.",
    )

    destinations = models.ManyToManyField(
        Peer,
        blank=True,
        related_name="rules",
        limit_choices_to={"is_destination": True},
        help_text="None: such a result is kept here and sent nowhere.",
    )
    outputs = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_outputs],
        help_text="Empty: what each destination usually gets.",
    )

    class Meta:
        verbose_name = "routing rule"
        ordering = ("position", "pk")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.min_probability is not None and not self.finding:
            raise ValidationError({"finding": "A probability needs a finding."})
