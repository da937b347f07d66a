"""What networks in shadow have read."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from gateway.models.instances import Instance, ModelVersion


class ShadowReading(models.Model):
    """One ECG read by one network beside the one that serves; nothing of it is ever sent.

    The row is there before the network looks, so that an ECG that ends the process is not tried
    again. What was found are Findings of that network.
    """

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="shadow_readings")
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="shadow_readings"
    )
    began_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it came to no end.")
    reason = models.CharField(
        max_length=300, blank=True, help_text="Why it found nothing on this ECG."
    )

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("model_version", "instance"), name="shadow_reads_an_ecg_once"
            ),
        )

    def __str__(self) -> str:
        return f"ECG {self.instance_id} by {self.model_version_id} in shadow"
