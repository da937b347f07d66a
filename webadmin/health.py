"""Whether this process can do its work, for load balancers and people with curl."""

from __future__ import annotations

import structlog
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from gateway import intake

log = structlog.get_logger(__name__)


@require_safe
@never_cache
def healthz(_request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database answers and 503 when it does not; no login, no data.

    Beside it stands whether the gateway takes ECGs. That is no reason for 503: the Desk works on,
    and people need it to see why.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            answered = cursor.fetchone() == (1,)
    except DatabaseError as error:
        log.error("database away", error=type(error).__name__)
        answered = False
    state = {"database": answered, "intake": not intake.shortage()}
    return JsonResponse(state, status=200 if answered else 503)
