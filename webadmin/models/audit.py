"""One trail of everything: what people did, and a chain of hashes over that and the machine facts.

Machine facts (associations, transitions, deliveries ...) are rows of their own already. Chaining
them where they are written would make every ECG wait for the one before it; they are chained a
moment later, in batches, and a row that changed afterwards no longer fits its link.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from webadmin.models.appended import Appended


class Deed(Appended):
    """Something a person did or tried: looked at patient data, labelled, exported, signed in."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=150, db_index=True, help_text="User name; empty: nobody.")
    address = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=48, db_index=True)
    subject = models.CharField(max_length=100, blank=True, help_text="Kind and number of the row.")
    patient_id = models.CharField("patient ID", max_length=128, blank=True, db_index=True)
    accession_number = models.CharField(max_length=64, blank=True, db_index=True)
    uid = models.CharField("UID", max_length=64, blank=True, db_index=True)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.actor or 'nobody'}: {self.action}"


class AuditLink(Appended):
    """One link of the chain: a row of some table as it was, and the link before it."""

    number = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField(
        default=timezone.now, db_index=True, help_text="When it happened, not when it was chained."
    )
    table = models.CharField(max_length=64)
    row = models.PositiveBigIntegerField()
    row_sha256 = models.CharField(max_length=64, help_text="Of the row's values.")
    sha256 = models.CharField(max_length=64, help_text="Of this link and the one before it.")

    class Meta:
        verbose_name = "entry of the trail"
        verbose_name_plural = "audit trail"
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(fields=("table", "row"), name="row_is_chained_once"),
        )

    def __str__(self) -> str:
        return f"{self.number}: {self.table} {self.row}"
