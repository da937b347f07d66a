"""An alert keeps what was found when it was raised; those that wait are given what is known now."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from gateway.outputs import FINDINGS


def keep_findings(apps: Apps, _editor: BaseDatabaseSchemaEditor | None) -> None:
    """Write down what each alert is about.

    The accession number stays empty: that of the study may be another order's.
    """
    alerts = apps.get_model("gateway", "Alert").objects.select_related("rule", "instance")
    findings = apps.get_model("gateway", "Finding").objects
    for alert in alerts.iterator(500):
        alert.finding = alert.rule.finding
        seen: Any = findings.filter(
            instance=alert.instance,
            model_version=alert.instance.model_version_id,
            key=alert.finding,
        ).first()
        if seen is not None:
            alert.probability, alert.is_present = seen.probability, seen.verdict == "present"
        alert.save(update_fields=["finding", "probability", "is_present"])


class Migration(migrations.Migration):
    dependencies = [("gateway", "0004_dispatches_of_earlier_deliveries")]

    operations = [
        migrations.AddField(
            "alert",
            "finding",
            models.CharField(max_length=16, choices=FINDINGS, default=""),
        ),
        migrations.AddField("alert", "probability", models.FloatField(null=True, blank=True)),
        migrations.AddField("alert", "is_present", models.BooleanField(null=True, blank=True)),
        migrations.AddField(
            "alert",
            "accession_number",
            models.CharField(
                max_length=64,
                blank=True,
                default="",
                help_text="Of this ECG, not of its study; kept where the rule names the patient.",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "alert",
            "reached",
            models.JSONField(
                default=list, blank=True, help_text="The e-mail addresses that have it."
            ),
        ),
        migrations.AlterField(
            "alert",
            "outcome",
            models.CharField(
                max_length=16,
                choices=[
                    ("waiting", "Waiting"),
                    ("sent", "Sent"),
                    ("failed", "Failed"),
                    ("withdrawn", "Withdrawn"),
                ],
                default="waiting",
            ),
        ),
        migrations.RunPython(keep_findings, migrations.RunPython.noop),
    ]
