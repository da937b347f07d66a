"""The Celery app: two queues, and a schedule that rings again what nobody holds.

Messages are doorbells. They carry one integer at most, and losing every one of them loses nothing:
the work is what the database says is waiting.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

app = Celery("gateway")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["gateway"])
