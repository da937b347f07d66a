"""Studies: the ECGs and reports of one examination."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from gateway.models import Report, Study
from webadmin import words
from webadmin.admin.screen import MachineFacts, short_uid
from webadmin.filters import DayRangeFilter


@admin.register(Study)
class StudyAdmin(MachineFacts[Study]):
    """One line a Study Instance UID."""

    class Media:
        js = ("webadmin/picture.js",)

    noun = gettext_lazy("Study")
    of_ecg = "instances"
    lists_patients = True
    change_form_template = "webadmin/study.html"
    list_display = (
        "arrived",
        "accession",
        "patient",
        "study_date",
        "description",
        "ecgs",
        "uid",
    )
    list_filter = (("created_at", DayRangeFilter),)
    search_fields = ("^accession_number", "^patient_id", "=study_instance_uid")
    search_help_text = gettext_lazy("Accession number, patient ID, UID")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Study]:
        return super().get_queryset(request).annotate(ecg_count=Count("instances"))

    @admin.display(description=gettext_lazy("first received"), ordering="created_at")
    def arrived(self, row: Study) -> Any:
        return row.created_at

    @admin.display(description=gettext_lazy("accession"), ordering="accession_number")
    def accession(self, row: Study) -> str:
        return row.accession_number or "–"

    @admin.display(description=gettext_lazy("patient ID"), ordering="patient_id")
    def patient(self, row: Study) -> str:
        return row.patient_id or "–"

    @admin.display(description=gettext_lazy("ECGs"), ordering="ecg_count")
    def ecgs(self, row: Study) -> int:
        return row.ecg_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=gettext_lazy("Study UID"))
    def uid(self, row: Study) -> SafeString:
        return short_uid(row.study_instance_uid)

    def page(self, _request: HttpRequest, row: Study) -> dict[str, Any]:
        instances = row.instances.prefetch_related("findings").order_by("received_at")
        reports = Report.objects.filter(instance__study=row).order_by("instance_id", "kind")
        return {
            "study": row,
            "notice": words.NOTICE,
            "instances": [
                {
                    "row": instance,
                    "badge": words.state(instance.state),
                    "findings": [
                        words.finding(found)
                        for found in instance.findings.all()
                        if found.verdict != "absent"
                        and found.model_version_id == instance.model_version_id
                    ],
                }
                for instance in instances
            ],
            "reports": reports.prefetch_related("deliveries__peer"),
        }
