"""Who is told of what within seconds."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, validate_email
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models.instances import Instance
from gateway.outputs import FINDINGS
from gateway.webhook import validate_address


class AlertRule(models.Model):
    """Whom to tell within seconds of which finding. Every active rule that fits tells its own."""

    class Channel(models.TextChoices):
        WEBHOOK = "webhook", _("Webhook")
        EMAIL = "email", _("E-mail")

    name = models.CharField(max_length=100, unique=True)
    is_active = models.BooleanField(default=True)
    finding = models.CharField(max_length=16, choices=FINDINGS)
    min_probability = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="0 to 1; empty: the finding is called present.",
    )
    sender = models.CharField(max_length=16, blank=True, help_text="AE title; empty: any.")
    channel = models.CharField(max_length=16, choices=Channel)
    target = models.CharField(
        max_length=500, help_text="An http(s) address, or e-mail addresses with commas between."
    )
    names_patient = models.BooleanField(
        "names the patient",
        default=False,
        help_text="Send patient ID and accession number along. Off: a link to the Desk only.",
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        try:
            if self.channel == self.Channel.WEBHOOK:
                validate_address(self.target)
            elif self.channel == self.Channel.EMAIL:
                for address in self.addresses or [""]:
                    validate_email(address)
        except ValidationError as error:
            raise ValidationError({"target": error.messages}) from error

    @property
    def addresses(self) -> list[str]:
        """The e-mail addresses it tells."""
        return [part.strip() for part in self.target.split(",") if part.strip()]


class Alert(models.Model):
    """One message of one rule about one instance: made once, tried until it is through.

    It tells what was found when it was raised, whatever becomes of the rule meanwhile.
    """

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    rule = models.ForeignKey(AlertRule, on_delete=models.PROTECT, related_name="alerts")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="alerts")
    finding = models.CharField(max_length=16, choices=FINDINGS, default="")
    probability = models.FloatField(null=True, blank=True)
    is_present = models.BooleanField(null=True, blank=True)
    accession_number = models.CharField(
        max_length=64,
        blank=True,
        help_text="Of this ECG, not of its study; kept where the rule names the patient.",
    )
    reached = models.JSONField(
        default=list, blank=True, help_text="The e-mail addresses that have it."
    )
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.WAITING)
    raised_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(default=timezone.now)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-raised_at", "-pk")
        constraints = (
            models.UniqueConstraint(fields=("rule", "instance"), name="alert_is_raised_once"),
        )
        indexes = (models.Index(fields=("outcome", "not_before"), name="alert_waiting"),)

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.get_outcome_display().lower()}"
