"""Where the network looked, for the reading page: asked for here, drawn by a Steward."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _

from gateway import heatmaps
from gateway.models import Instance
from models.labels import KEYS
from webadmin import reading_list


def map_view(request: HttpRequest, pk: int, key: str) -> HttpResponseBase:
    """Answer with the layer of a finding (200), that it is being drawn (202), or why not (422).

    A POST has it drawn. The web process loads no network: a Steward draws.
    """
    instance = get_object_or_404(Instance, pk=pk)
    if key not in KEYS or instance.model_version_id is None:
        return JsonResponse({"reason": _("The network was not asked for this.")}, status=404)
    user = request.user
    if not user.is_authenticated or reading_list.taken_by(user, pk):
        raise PermissionDenied
    try:
        found = heatmaps.find(instance, key)
    except heatmaps.NotDrawn as error:
        if request.method == "GET":
            reason = _("It could not be drawn: %s.") % error
            return JsonResponse({"reason": reason}, status=422)
        found = None
    if request.method == "POST":
        if found is None and not heatmaps.ask(instance, key):
            reason = _("It cannot be drawn now: the gateway's broker is away.")
            return JsonResponse({"reason": reason}, status=503)
        return JsonResponse({}, status=202)
    if found is None:
        return JsonResponse({}, status=202)
    etag = f'"{found.stem}-{found.stat().st_mtime_ns}"'
    answer: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if answer is None:
        answer = HttpResponse(found.read_bytes(), content_type="image/png")
        answer["ETag"] = etag
    answer["Cache-Control"] = "private, no-cache"
    return answer
