"""Model versions: the networks known here, which one serves, and what is known of each.

A network is promoted, rolled back, or made to read along in shadow from its page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, IntegerField, QuerySet, Value
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from gateway import serving, shadow
from gateway.models import ModelVersion, Promotion
from models.artifact import ArtifactError
from models.labels import LABELS
from webadmin import audit, beside, cards, comparing, evaluating, words
from webadmin.admin.screen import MachineFacts, short_uid, show
from webadmin.words import Badge

_PROMOTIONS_SHOWN = 20


@admin.register(ModelVersion)
class ModelVersionAdmin(MachineFacts[ModelVersion]):
    """One line a network, by the hash of its weights."""

    class Media:
        css = {"all": ("webadmin/runs.css",)}  # noqa: RUF012 (Django's own declaration)

    noun = gettext_lazy("Model version")
    change_form_template = "webadmin/model_version.html"
    list_display = ("named", "now", "first_used_at", "ecgs", "validated", "weights")
    search_fields = ("^name", "^version", "^sha256")
    search_help_text = gettext_lazy("Name, version, SHA-256")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        champion = _champion()
        serves = Value(champion.pk if champion else None, IntegerField())
        rows = super().get_queryset(request)
        return rows.annotate(ecg_count=Count("instances"), serving_pk=serves)

    @admin.display(description=gettext_lazy("model"), ordering="name")
    def named(self, row: ModelVersion) -> str:
        return str(row)

    @admin.display(description=gettext_lazy("now"), ordering="shadow_since")
    def now(self, row: ModelVersion) -> SafeString | str:
        badges = roles(row, row.serving_pk)  # type: ignore[attr-defined]
        return show(badges[0]) if badges else "–"

    @admin.display(description=gettext_lazy("ECGs read"), ordering="ecg_count")
    def ecgs(self, row: ModelVersion) -> int:
        return row.ecg_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=gettext_lazy("validated classes"))
    def validated(self, row: ModelVersion) -> str:
        count = sum(cards.is_validated(row.card, label.key) for label in LABELS)
        return _("%(count)d of %(all)d") % {"count": count, "all": len(LABELS)}

    @admin.display(description=gettext_lazy("SHA-256 of the weights"))
    def weights(self, row: ModelVersion) -> SafeString:
        return short_uid(row.sha256)

    def page(self, request: HttpRequest, row: ModelVersion) -> dict[str, Any]:
        champion = _champion()
        serves = champion is not None and champion.pk == row.pk
        said = evaluating.latest(row, champion) if champion and not serves else None
        may_promote = self.has_promote_permission(request)
        before = serving.previous() if serves else None
        return {
            "version": row,
            "heading": str(row),
            "badges": roles(row, champion.pk if champion else None),
            "serves": serves,
            "champion": champion,
            "notice": words.NOTICE,
            "claims": cards.claims(row.card),
            "read_count": row.instances.count(),
            "training": row.card.get("training", {}),
            "evaluation": said,
            "beside": beside.rows(said.results) if said else [],
            "facts": beside.facts(said.results) if said else [],
            "can_promote": may_promote
            and champion is not None
            and evaluating.is_to_be_promoted(row, champion),
            "before": before,
            "can_roll_back": may_promote and before is not None,
            "can_shadow": not serves and self.has_shadow_permission(request),
            "shadow": comparing.compare(row) if row.shadow_readings.exists() else None,
            "latest": comparing.LATEST,
            "promotions": Promotion.objects.filter(model_version=row)[:_PROMOTIONS_SHOWN],
        }

    # --- what a person can do -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view
        return [
            path("<int:pk>/promote/", inside(self.promote_view), name=f"{_NAME}_promote"),
            path("<int:pk>/roll-back/", inside(self.roll_back_view), name=f"{_NAME}_roll_back"),
            path(
                "<int:pk>/shadow/",
                inside(require_POST(self.shadow_view)),
                name=f"{_NAME}_shadow",
            ),
            *super().get_urls(),
        ]

    def has_promote_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may say which network serves."""
        return request.user.has_perm("webadmin.promote_modelversion")

    def has_shadow_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may have a network read along."""
        return request.user.has_perm("gateway.change_modelversion")

    def promote_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what speaks for a network and ask for the reason; promote it when confirmed."""
        row = self._to_decide_on(request, pk)

        def promote(actor: str, reason: str) -> str:
            evaluating.promote(row, actor=actor, reason=reason)
            return _("%(network)s serves from the next batch on.") % {"network": row}

        champion = _champion()
        said = evaluating.latest(row, champion) if champion else None
        return self._decide(
            request,
            row,
            promote,
            title=_("Promote a network"),
            evaluation=said,
            champion=champion,
            is_allowed=champion is not None and evaluating.is_to_be_promoted(row, champion),
        )

    def roll_back_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the reason and take the latest promotion back."""
        row = self._to_decide_on(request, pk)

        def roll_back(actor: str, reason: str) -> str:
            promotion = evaluating.roll_back(actor=actor, reason=reason, of=row)
            return _("%(network)s serves again from the next batch on.") % {
                "network": promotion.model_version
            }

        champion = _champion()
        before = serving.previous() if champion is not None and champion.pk == row.pk else None
        return self._decide(
            request,
            row,
            roll_back,
            title=_("Roll back"),
            before=before,
            champion=champion,
            is_allowed=before is not None,
        )

    def _to_decide_on(self, request: HttpRequest, pk: int) -> ModelVersion:
        if not self.has_promote_permission(request):
            raise PermissionDenied
        return get_object_or_404(ModelVersion, pk=pk)

    def _decide(
        self,
        request: HttpRequest,
        row: ModelVersion,
        act: Callable[[str, str], str],
        **context: Any,
    ) -> HttpResponse:
        problem = ""
        if request.method == "POST":
            try:
                said = act(f"user:{request.user.get_username()}", request.POST.get("reason", ""))
            except (serving.NotPromoted, ArtifactError) as error:
                problem = str(error)
            else:
                messages.success(request, said)
                return redirect("admin:gateway_modelversion_change", row.pk)
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "version": row,
            "problem": problem,
            "reason": request.POST.get("reason", ""),
            **context,
        }
        status = 400 if problem else 200
        return TemplateResponse(request, "webadmin/promotion.html", page, status=status)

    def shadow_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have a network read along, or no longer."""
        if not self.has_shadow_permission(request):
            raise PermissionDenied
        row = get_object_or_404(ModelVersion, pk=pk)
        asked = request.POST.get("shadow", "on")
        if asked == "off":
            with transaction.atomic():
                shadow.stop(row)
                audit.record("change", request=request, subject=row, shadow=asked)
            said = _("%(network)s reads along no longer; what it has read stays.")
        else:
            try:
                with transaction.atomic():
                    shadow.start(row)
                    audit.record("change", request=request, subject=row, shadow=asked)
            except ArtifactError as error:
                messages.error(request, str(error))
                return redirect("admin:gateway_modelversion_change", pk)
            said = _("%(network)s reads along from now on; nothing it says is sent.")
        messages.success(request, said % {"network": row})
        return redirect("admin:gateway_modelversion_change", pk)


_NAME = "gateway_modelversion"


def _champion() -> ModelVersion | None:
    """Return the network that serves; None where there is none to begin with."""
    try:
        return serving.champion()
    except ArtifactError:
        return None


def roles(row: ModelVersion, serving_pk: int | None) -> list[Badge]:
    """Return the coloured words for what a network does now."""
    if serving_pk == row.pk:
        return [Badge(_("Serves"), "good", "check_circle")]
    if row.shadow_since:
        return [Badge(_("In shadow"), "progress", "visibility")]
    return []
