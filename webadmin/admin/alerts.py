"""Alert rules, which people set up, and alerts: whom a finding was told to, and how that went."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from gateway import alerts
from gateway.models import Alert, AlertRule
from webadmin import words
from webadmin.admin.screen import MachineFacts, show
from webadmin.filters import DayRangeFilter, Dropdown
from webadmin.unfolded import ModelAdmin
from webadmin.words import Badge


@admin.register(AlertRule)
class AlertRuleAdmin(ModelAdmin[AlertRule]):
    """Whom to tell of what within seconds; every active rule that fits tells its own."""

    list_display = ("name", "condition", "tells", "patient", "raised", "is_on")
    search_fields = ("name",)
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("name", "is_active")}),
        (gettext_lazy("Of which findings"), {"fields": ("finding", "min_probability", "sender")}),
        (gettext_lazy("Who is told"), {"fields": ("channel", "target", "names_patient")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        return super().get_queryset(request).annotate(alert_count=Count("alerts"))

    def save_model(
        self, request: HttpRequest, obj: AlertRule, form: ModelForm[AlertRule], change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        alerts.withdraw_switched_off()

    @admin.display(description=gettext_lazy("of which findings"), ordering="finding")
    def condition(self, row: AlertRule) -> str:
        return alerts.describe(row)

    @admin.display(description=gettext_lazy("who is told"))
    def tells(self, row: AlertRule) -> SafeString:
        icon = "webhook" if row.channel == AlertRule.Channel.WEBHOOK else "mail"
        badge = show(Badge(row.get_channel_display(), "progress", icon))
        return format_html(
            '{}<span class="desk-why" title="{}">{}</span>', badge, row.target, row.target
        )

    @admin.display(description=gettext_lazy("patient data"), ordering="names_patient")
    def patient(self, row: AlertRule) -> SafeString:
        if row.names_patient:
            return show(Badge(_("names the patient"), "warn", "person"))
        return show(Badge(_("link only"), "quiet", "link"))

    @admin.display(description=gettext_lazy("alerts"), ordering="alert_count")
    def raised(self, row: AlertRule) -> int:
        return row.alert_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=gettext_lazy("in use"), boolean=True, ordering="is_active")
    def is_on(self, row: AlertRule) -> bool:
        return row.is_active


class OutcomeFilter(Dropdown):
    """By what became of it."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Alert.Outcome.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Alert]) -> QuerySet[Alert]:
        return rows.filter(outcome=self.value()) if self.value() else rows


@admin.register(Alert)
class AlertAdmin(MachineFacts[Alert]):
    """One line a message. The one thing a person can do is to have a failed one tried again."""

    noun = gettext_lazy("Alert")
    of_ecg = "instance"
    change_form_template = "webadmin/alert.html"
    list_display = ("raised_at", "ecg", "by", "came", "attempts", "ended_at")
    list_filter = (OutcomeFilter, ("raised_at", DayRangeFilter))
    list_select_related = ("rule", "instance")
    search_fields = ("^rule__name", "=instance__sop_instance_uid")
    search_help_text = gettext_lazy("Rule, UID of the ECG")

    @admin.display(description=gettext_lazy("ECG"), ordering="instance_id")
    def ecg(self, row: Alert) -> SafeString:
        link = reverse("admin:gateway_instance_change", args=[row.instance_id])
        return format_html(
            '<a class="desk-link" href="{}">{}</a>', link, _("ECG %d") % row.instance_id
        )

    @admin.display(description=gettext_lazy("rule"), ordering="rule__name")
    def by(self, row: Alert) -> str:
        return row.rule.name

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def came(self, row: Alert) -> SafeString:
        badge = show(words.alert(row.outcome))
        if not row.last_error:
            return badge
        return format_html(
            '{}<span class="desk-why" title="{}">{}</span>', badge, row.last_error, row.last_error
        )

    def page(self, request: HttpRequest, row: Alert) -> dict[str, Any]:
        return {
            "alert": row,
            "badge": words.alert(row.outcome),
            "condition": alerts.describe_raised(row),
            "can_retry": row.outcome == Alert.Outcome.FAILED and self.has_retry_permission(request),
        }

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view(require_POST(self.again_view))
        return [path("<int:pk>/again/", inside, name="gateway_alert_again"), *super().get_urls()]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may have an alert tried again."""
        return request.user.has_perm("gateway.change_alert")

    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have one failed alert tried again and go back to its page."""
        if not self.has_retry_permission(request):
            raise PermissionDenied
        row = get_object_or_404(Alert, pk=pk)
        if alerts.retry(row):
            self.log_change(request, row, "tried again")
            messages.success(request, _("Alert %d is tried again.") % pk)
        else:
            messages.warning(
                request, _("Alert %d is not failed (any more); nothing was done.") % pk
            )
        return redirect("admin:gateway_alert_change", pk)
