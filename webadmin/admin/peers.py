"""Peers: the Application Entities we know, what each is for and what it is sent."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet, URLField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from gateway import circuits
from gateway.models import Peer, RefusedOutput
from webadmin import outputs, trail
from webadmin.admin.screen import show
from webadmin.unfolded import ModelAdmin
from webadmin.words import Badge


@admin.register(Peer)
class PeerAdmin(ModelAdmin[Peer]):
    """Who may send ECGs to us, who receives the reports, whom we ask."""

    form = outputs.OutputsForm
    list_display = ("title", "address", "answers", "purpose", "sent", "refused")
    actions = ("call_again",)
    search_fields = ("^title", "^host")
    search_help_text = gettext_lazy("AE title, host")
    warn_unsaved_form = True
    readonly_fields = ("refuses_commitment_since",)
    change_form_after_template = "webadmin/refused_outputs.html"
    fieldsets = (
        (None, {"fields": ("title", "host", "port")}),
        (
            gettext_lazy("What it is for"),
            {"fields": ("is_sender", "is_destination", "is_archive", "is_worklist")},
        ),
        (gettext_lazy("What it is sent"), {"fields": ("outputs", "language", "max_lines")}),
        (
            gettext_lazy("How it shows that it keeps it"),
            {"fields": ("proof", "qido_url", "refuses_commitment_since")},
        ),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, URLField):
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Peer]:
        rows = super().get_queryset(request).annotate(rules_count=Count("rules", distinct=True))
        return rows.select_related("circuit").prefetch_related("refused_outputs")

    def has_delete_permission(self, request: HttpRequest, obj: Peer | None = None) -> bool:
        """Return whether it may go: not while a rule names it, which would then send nowhere."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and not (obj is not None and obj.rules.exists())

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Many at once would not ask about the rules of each.
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.display(description=gettext_lazy("address"), ordering="host")
    def address(self, row: Peer) -> str:
        return f"{row.host}:{row.port}" if row.host else _("any address")

    @admin.display(description=gettext_lazy("answers"))
    def answers(self, row: Peer) -> SafeString | str:
        away = trail.silence(row)
        if away is None:
            return "–"
        count = circuits.waiting_for(row)
        waits = ngettext("%(count)s ECG waits for it", "%(count)s ECGs wait for it", count) % {
            "count": f"{count:,}"
        }
        return format_html('{}<span class="desk-why">{}</span>', show(away), waits)

    @admin.action(permissions=["change"], description=gettext_lazy("Call them again now"))
    def call_again(self, request: HttpRequest, rows: QuerySet[Peer]) -> None:
        """Do not wait until the next trial of Peers that did not answer."""
        for peer in rows:
            circuits.forget(peer)
            self.log_change(request, peer, "call again now")
        messages.success(request, _("They are called as soon as something waits for them."))

    @admin.display(description=gettext_lazy("what it is for"))
    def purpose(self, row: Peer) -> SafeString:
        badges = (
            (row.is_sender, Badge(_("sends ECGs"), "progress", "login")),
            (row.is_destination, Badge(_("receives reports"), "good", "logout")),
            (row.is_archive, Badge(_("answers queries"), "progress", "search")),
            (row.is_worklist, Badge(_("has the worklist"), "progress", "list_alt")),
        )
        shown = [(show(badge),) for does, badge in badges if does]
        if not shown:
            return show(Badge(_("not in use"), "quiet", "block"))
        return format_html('<span class="desk-badges">{}</span>', format_html_join("", "{}", shown))

    @admin.display(description=gettext_lazy("what it is sent"))
    def sent(self, row: Peer) -> str:
        if not row.is_destination:
            return "–"
        return f"{outputs.names(row.outputs)} ({row.get_language_display()})"

    @admin.display(description=gettext_lazy("refuses"))
    def refused(self, row: Peer) -> SafeString | str:
        kinds = [refusal.output for refusal in row.refused_outputs.all()]
        return show(Badge(outputs.names(kinds), "warn", "block")) if kinds else "–"

    # --- what it was seen to refuse -------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view(require_POST(self.again_view))
        return [
            path("refused/<int:pk>/again/", inside, name="gateway_refusedoutput_again"),
            *super().get_urls(),
        ]

    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Forget one refusal: the next result is sent to the Peer in that form again."""
        if not request.user.has_perm("gateway.change_peer"):
            raise PermissionDenied
        refusal = get_object_or_404(RefusedOutput, pk=pk)
        peer, output = refusal.peer, refusal.get_output_display()
        refusal.delete()
        self.log_change(request, peer, f"send {output} again")
        messages.success(
            request,
            _("The next result is sent to %(peer)s as %(output)s again.")
            % {"peer": peer.title, "output": output},
        )
        return redirect("admin:gateway_peer_change", peer.pk)
