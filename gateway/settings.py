"""Settings of the whole product; every difference between machines is an environment variable.

``.env.example`` explains each variable in a sentence. A file ``.env`` beside ``manage.py`` is read
first; the real environment wins over it.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import Any

import environ
import structlog
from django.urls import reverse_lazy
from django.utils.functional import SimpleLazyObject

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(BASE_DIR / ".env", overwrite=False)

# --- Where things are ----------------------------------------------------------------------------
ECG_DATA_DIR = Path(env.str("ECG_DATA_DIR", default="") or BASE_DIR / "var").resolve()
ECG_SPOOL_DIR = Path(env.str("ECG_SPOOL_DIR", default="") or ECG_DATA_DIR / "spool").resolve()
ECG_LOW_WATER_MB = env.int("ECG_LOW_WATER_MB", default=512)
ECG_MODEL_DIR = env.str("ECG_MODEL_DIR", default="")
ECG_MODELS_DIR = Path(env.str("ECG_MODELS_DIR", default="") or ECG_DATA_DIR / "models").resolve()

# --- DICOM ---------------------------------------------------------------------------------------
ECG_AE_TITLE = env.str("ECG_AE_TITLE", default="ECGGATEWAY")
ECG_DICOM_HOST = env.str("ECG_DICOM_HOST", default="0.0.0.0")  # noqa: S104 (a server listens)
ECG_DICOM_PORT = env.int("ECG_DICOM_PORT", default=11112)
ECG_DICOM_TIMEOUT_S = env.float("ECG_DICOM_TIMEOUT_S", default=30.0)
ECG_MAX_ASSOCIATIONS = env.int("ECG_MAX_ASSOCIATIONS", default=50)

# --- The pipeline --------------------------------------------------------------------------------
ECG_LEASE_S = env.float("ECG_LEASE_S", default=60.0)
ECG_SWEEP_S = env.float("ECG_SWEEP_S", default=5.0)
ECG_BATCH_SIZE = env.int("ECG_BATCH_SIZE", default=16)
ECG_ATTEMPTS = env.int("ECG_ATTEMPTS", default=12)
ECG_BACKOFF_S = env.float("ECG_BACKOFF_S", default=5.0)
ECG_RESTART_PAUSE_S = env.float("ECG_RESTART_PAUSE_S", default=30.0)
ECG_PICTURE_LIMIT_S = env.float("ECG_PICTURE_LIMIT_S", default=120.0)
ECG_PROOF_DELAY_S = env.float("ECG_PROOF_DELAY_S", default=10.0)
ECG_PROOF_PATIENCE_S = env.float("ECG_PROOF_PATIENCE_S", default=600.0)

# --- How long things are kept: days, 0 is for ever ------------------------------------------------
ECG_KEEP_PICTURES_DAYS = env.int("ECG_KEEP_PICTURES_DAYS", default=0)
ECG_KEEP_REPORTS_DAYS = env.int("ECG_KEEP_REPORTS_DAYS", default=0)
ECG_KEEP_RECORDS_DAYS = env.int("ECG_KEEP_RECORDS_DAYS", default=0)

# --- Database ------------------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {
    "default": environ.Env.db_url_config(
        env.str("DATABASE_URL", default="") or f"sqlite:///{ECG_DATA_DIR / 'gateway.sqlite3'}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE takes the write lock when a transaction begins, so that two writers wait for
        # each other instead of failing half way. synchronous=FULL because a C-STORE is answered
        # Success on the strength of a commit: WAL with NORMAL may lose it when the power goes.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
    # The last connection that closes empties the journal into the database; once for each thing
    # that is done would cost more than the thing.
    DATABASES["default"]["CONN_MAX_AGE"] = None
    # A file in tests too: threads and processes of one test must meet in the same database.
    DATABASES["default"]["TEST"] = {"NAME": str(ECG_DATA_DIR / "test.sqlite3")}
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"]["CONN_MAX_AGE"] = 300
    # A machine that freezes or is cut off inside a transaction keeps the locks of its rows, and
    # SKIP LOCKED passes them by; the server lets go of them as soon as a lease would have run out.
    # That the server itself is gone shows within half a minute.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "options": f"-c idle_in_transaction_session_timeout={max(1, round(1000 * ECG_LEASE_S))}",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Broker: the doorbell ------------------------------------------------------------------------
# A socket in the data folder needs no port and no password. Its path must fit a sockaddr_un (108
# bytes with its end), so a deeper data folder has it in a folder of its own under the temp folder.
ECG_VALKEY_SOCKET = ECG_DATA_DIR / "valkey" / "valkey.sock"
if len(os.fsencode(ECG_VALKEY_SOCKET)) > 100:
    _SHORT = hashlib.sha256(os.fsencode(ECG_DATA_DIR)).hexdigest()[:16]
    ECG_VALKEY_SOCKET = Path(tempfile.gettempdir()) / f"ecg-{_SHORT}" / "valkey.sock"
BROKER_URL = env.str("BROKER_URL", default="") or f"redis+socket://{ECG_VALKEY_SOCKET}"
ECG_EMBEDDED_BROKER = BROKER_URL.startswith("redis+socket://")

CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = False
CELERY_TASK_DEFAULT_QUEUE = "upkeep"
CELERY_TASK_ROUTES = {
    "gateway.tasks.analyse": {"queue": "analysis"},
    "gateway.tasks.sweep_analysis": {"queue": "analysis"},
    "gateway.tasks.deliver": {"queue": "delivery"},
    "gateway.tasks.sweep_delivery": {"queue": "delivery"},
    "gateway.tasks.prove": {"queue": "delivery"},
    "gateway.tasks.sweep_proof": {"queue": "delivery"},
    # Of their own: who is told within seconds waits behind no report and no archive that is away.
    "gateway.tasks.alert": {"queue": "alerts"},
    "gateway.tasks.sweep_alerts": {"queue": "alerts"},
    "gateway.tasks.read_along": {"queue": "analysis"},
    "gateway.lookups.answer": {"queue": "delivery"},
    "webadmin.tasks.train": {"queue": "training"},
    "webadmin.tasks.sweep_training": {"queue": "training"},
    # The rest is upkeep, and may take long: what a Steward does holds up no ECG.
}
# Each worker sweeps for its own queue: a dead queue then delays nobody else's sweep. A sweep that
# waited longer than its period is dropped, so that they do not pile up.
CELERY_BEAT_SCHEDULE = {
    name: {
        "task": f"gateway.tasks.{name}",
        "schedule": ECG_SWEEP_S,
        "options": {"expires": ECG_SWEEP_S},
    }
    for name in ("sweep_analysis", "sweep_delivery", "sweep_proof", "sweep_custody", "sweep_alerts")
}
# An Analyst with nothing else to do; a Trainer, who may be at one training for hours.
for _name in ("gateway.tasks.read_along", "webadmin.tasks.sweep_training"):
    CELERY_BEAT_SCHEDULE[_name.rpartition(".")[2]] = {
        "task": _name,
        "schedule": ECG_SWEEP_S,
        "options": {"expires": ECG_SWEEP_S},
    }
# The trail is chained within seconds; what became final late within the hour; held against its
# rows once a day.
for _name, _period_s in (
    ("webadmin.chain.sweep", 10.0),
    ("webadmin.chain.sweep_thoroughly", 3600.0),
    ("webadmin.auditing.check", 86_400.0),
):
    CELERY_BEAT_SCHEDULE[_name] = {
        "task": _name,
        "schedule": _period_s,
        "options": {"expires": _period_s},
    }
CELERY_BEAT_SCHEDULE["curate"] = {
    "task": "webadmin.tasks.sweep_curation",
    "schedule": 300.0,
    "options": {"expires": 300.0},
}
CELERY_BEAT_SCHEDULE["tidy"] = {"task": "gateway.tasks.tidy", "schedule": 3600.0}
if ECG_KEEP_PICTURES_DAYS or ECG_KEEP_REPORTS_DAYS or ECG_KEEP_RECORDS_DAYS:
    CELERY_BEAT_SCHEDULE["age_out"] = {"task": "gateway.tasks.age_out", "schedule": 86_400.0}
CELERY_BEAT_SCHEDULE_FILENAME = str(ECG_DATA_DIR / "beat-schedule")
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
# A task works for a minute and rings for itself; one that is still at it after this hangs, and its
# process is ended. (One that hangs over a picture ends sooner: ECG_PICTURE_LIMIT_S.)
CELERY_TASK_TIME_LIMIT = 600
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Ringing must never hold up a C-STORE: one short try, and the sweeper rings again.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.0,
    "interval_max": 0.0,
    "socket_connect_timeout": 1.0,
    "socket_timeout": 5.0,
    "visibility_timeout": 3600,
}
CELERY_TIMEZONE = "UTC"

# --- Django --------------------------------------------------------------------------------------
DEBUG = env.bool("ECG_DEBUG", default=False)
ALLOWED_HOSTS = [name for name in env.list("ECG_ALLOWED_HOSTS", default=[]) if name] or [
    "localhost",
    "127.0.0.1",
    "[::1]",
    socket.gethostname(),
]
CSRF_TRUSTED_ORIGINS = [name for name in env.list("ECG_TRUSTED_ORIGINS", default=[]) if name]
ECG_WEB_PORT = env.int("ECG_WEB_PORT", default=8000)
ECG_HTTPS = env.bool("ECG_HTTPS", default=False)
# So many of X-Forwarded-For's last entries were written by proxies of ours and can be believed.
ECG_PROXIES = int(env.str("ECG_PROXIES", default="") or ECG_HTTPS)
ECG_SESSION_MINUTES = env.float("ECG_SESSION_MINUTES", default=30.0)
ECG_DESK_URL = env.str("ECG_DESK_URL", default="") or f"http://localhost:{ECG_WEB_PORT}"

# --- Reading -------------------------------------------------------------------------------------
ECG_INSTITUTION = env.str("ECG_INSTITUTION", default="")
ECG_URGENT_FINDINGS = [key for key in env.list("ECG_URGENT_FINDINGS", default=[]) if key]

# --- Alerts -------------------------------------------------------------------------------------
ECG_WEBHOOK_SECRET = env.str("ECG_WEBHOOK_SECRET", default="")
DEFAULT_FROM_EMAIL = env.str("ECG_MAIL_FROM", default="ecg-gateway@localhost")
vars().update(env.email_url("EMAIL_URL", default="smtp://localhost:25"))


def _secret_key() -> str:
    """Return ECG_SECRET_KEY, or the key kept in the data folder, made at first use.

    Lazy, because a command such as ``classify`` must run where nothing may be written.
    """
    given: str = env.str("ECG_SECRET_KEY", default="")
    if given:
        return given
    path = ECG_DATA_DIR / "secret-key"
    try:
        return path.read_text()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_urlsafe(50)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(key)
    try:
        os.link(draft, path)  # of several processes starting at once, the first one's key stays
    except FileExistsError:
        key = path.read_text()
    finally:
        draft.unlink()
    return key


SECRET_KEY: Any = SimpleLazyObject(_secret_key)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "gateway",
    "webadmin",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "webadmin.security.set_policies",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "webadmin.security.know_the_request",
    "webadmin.security.end_sessions",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "webadmin.urls"
WSGI_APPLICATION = "gateway.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
# Five wrong passwords for one name from one address lock both out together for a quarter of an
# hour: whoever guesses is stopped, and cannot lock a colleague out from elsewhere.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = datetime.timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "webadmin.audit.client_address"
AXES_LOCKOUT_CALLABLE = "webadmin.security.locked_out"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True  # the trail has it
AXES_VERBOSE = False
LOGIN_URL = reverse_lazy("admin:login")
LANGUAGE_CODE = "en"
# A browser says which it wants; the menu under one's name changes it. Reports have languages of
# their own, a Peer's (gateway.outputs.Language).
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
TIME_ZONE = env.str("ECG_TIME_ZONE", default="UTC")
USE_TZ = True
FORMAT_MODULE_PATH = ["webadmin.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True  # one machine needs no collectstatic; nginx serves STATIC_ROOT

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_AGE = round(60 * ECG_SESSION_MINUTES)
SESSION_LONGEST_S = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
if ECG_HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    # A list that browsers carry is for sites of the public, not for a host of one hospital.
    SILENCED_SYSTEM_CHECKS = ["security.W021"]
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    LANGUAGE_COOKIE_SECURE = True

# --- The Desk: names here, not imports; webadmin stands above this room ---------------------------
UNFOLD = {
    "SITE_TITLE": "ECG Gateway",
    "SITE_HEADER": "ECG Gateway",
    "SITE_SYMBOL": "monitor_heart",
    "SITE_URL": None,
    "SHOW_LANGUAGES": True,
    "SITE_FAVICONS": "webadmin.navigation.favicons",
    "DASHBOARD_CALLBACK": "webadmin.dashboard.context",
    "SIDEBAR": {"navigation": "webadmin.navigation.groups"},
    "STYLES": ["webadmin.navigation.stylesheet"],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .015 230)",
            "100": "oklch(94% .03 230)",
            "200": "oklch(88% .06 230)",
            "300": "oklch(80% .1 230)",
            "400": "oklch(72% .13 232)",
            "500": "oklch(62% .14 236)",
            "600": "oklch(52% .13 240)",
            "700": "oklch(45% .12 243)",
            "800": "oklch(38% .1 246)",
            "900": "oklch(32% .08 249)",
            "950": "oklch(24% .06 252)",
        },
    },
}

# --- Logs: one line an event, UIDs and row ids, never a name --------------------------------------
_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
structlog.configure(
    processors=[*_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
_RENDERER: Any = (
    structlog.processors.JSONRenderer()
    if env.str("ECG_LOG_FORMAT", default="text") == "json"
    else structlog.dev.ConsoleRenderer(colors=False)
)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _PROCESSORS,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _RENDERER,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        name: {"level": env.str("ECG_LOG_LEVEL", default="INFO")}
        for name in ("gateway", "dicom_node", "models", "webadmin")
    },
}
