"""The Celery app: its queues, and a schedule that rings again what nobody holds.

Messages are doorbells. They carry one integer at most, and losing every one of them loses nothing:
the work is what the database says is waiting.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import beat_embedded_init, worker_process_init

from gateway.parent import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

app = Celery("gateway")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["gateway", "webadmin"])
app.autodiscover_tasks(["gateway"], related_name="lookups")
app.autodiscover_tasks(["webadmin"], related_name="auditing")


@worker_process_init.connect
@beat_embedded_init.connect
def _end_with_the_worker(**_: Any) -> None:
    """A child whose worker was killed would go on with work that another has taken up."""
    die_with_parent()
