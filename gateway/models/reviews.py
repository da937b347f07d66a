"""What a person verified of an ECG: the order to compose a verified report."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from gateway.models.instances import Instance


class Review(models.Model):
    """One review: what the reader says of the ten, in whose name, to be reported as verified."""

    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="reviews")
    number = models.PositiveSmallIntegerField(help_text="1 for the first of this ECG.")
    findings = models.JSONField(help_text="Key of the finding: present, absent or undecided.")
    comment = models.CharField(max_length=1000, blank=True)
    verifier_name = models.CharField(max_length=300, help_text="As a DICOM person name.")
    verifier_id = models.CharField(max_length=64, blank=True)
    organization = models.CharField(max_length=64)
    reviewed_at = models.DateTimeField(default=timezone.now)
    composed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("instance", "number")
        constraints = (
            models.UniqueConstraint(fields=("instance", "number"), name="review_is_numbered_once"),
        )

    def __str__(self) -> str:
        return f"Review {self.number} of ECG {self.instance_id}"
