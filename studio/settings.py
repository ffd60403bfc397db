"""Every setting of the site, all from the environment.

With nothing but ``STUDIO_DATA_DIR`` set (or not even that) the site runs on SQLite and
on a Valkey that comes with the packages. ``docs/configuration.md`` lists the variables.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import environ
from csp.constants import NONE, SELF

from studio import admin_site, buckets, logs, sentry
from studio.places import DataDirectory

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Places ---------------------------------------------------------------------------
DATA = DataDirectory(
    Path(env.str("STUDIO_DATA_DIR", default=str(BASE_DIR / "var/data"))).absolute()
)
DATA.prepare()
WEIGHTS_DIR = Path(env.str("STUDIO_WEIGHTS_DIR", default=str(BASE_DIR / "var/weights"))).absolute()

# --- The site -------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="") or DATA.secret_key()
# Of what other services trust us with. The first encrypts, all decrypt.
CREDENTIALS_KEYS = env.list("CREDENTIALS_KEYS", default=[]) or [DATA.credentials_key()]
DEBUG = env.bool("STUDIO_DEBUG", default=False)
PORT = env.int("STUDIO_PORT", default=8000)
ALLOWED_HOSTS = ["127.0.0.1", "localhost", *env.list("STUDIO_HOSTS", default=[])]
SITE_URL = env.str("STUDIO_URL", default=f"http://127.0.0.1:{PORT}")
CSRF_TRUSTED_ORIGINS = [SITE_URL]
HTTPS = env.bool("STUDIO_HTTPS", default=False)
PROXIES = env.int("STUDIO_PROXIES", default=1 if HTTPS else 0)  # that write X-Forwarded-For
ROOT_URLCONF = "studio.urls"
WSGI_APPLICATION = "studio.wsgi.application"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "studio.apps.DeskConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "corsheaders",
    "csp",
    "django_htmx",
    "django_rq",
    "accounts",
    "credits",
    "tools",
    "batches",
    "studio",
]

MIDDLEWARE = [
    "studio.middleware.RequestIdMiddleware",
    "studio.timing.TimingMiddleware",
    "studio.middleware.RateLimitMiddleware",
    "studio.middleware.PolicyMiddleware",
    "studio.middleware.ContentPolicyMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "studio.seeing.SeeingMiddleware",
    "studio.middleware.KeepNothingMiddleware",
    "studio.failures.FailurePageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "credits.context_processors.balance",
                "accounts.context_processors.appearance",
                "accounts.context_processors.sight",
                "django.template.context_processors.i18n",
            ],
        },
    }
]

# --- People ---------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

PASSWORD_RESET_TIMEOUT = 3 * 24 * 3600  # of every link that proves an address

# --- Mail -----------------------------------------------------------------------------
if url := env.str("EMAIL_URL", default=""):
    globals().update(env.email_url_config(url))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(DATA.mail)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("STUDIO_MAIL_FROM", default="Studio <studio@localhost>")
MAIL_REPLY_TO = env.str("STUDIO_MAIL_REPLY_TO", default="")
# Not Django's ADMINS: to those it mails every error, with what the request held.
OPERATORS = env.list("STUDIO_OPERATORS", default=[])

# --- Database -------------------------------------------------------------------------
if url := env.str("DATABASE_URL", default=""):
    DATABASES: dict[str, dict[str, Any]] = {"default": env.db_url_config(url)}
    DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA.database}}
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"]["OPTIONS"] = {
        # A network that is cut must be noticed: after 15 seconds by whoever has sent something,
        # after 25 by whoever waits for an answer.
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 5,
        "tcp_user_timeout": 15_000,
        **DATABASES["default"].get("OPTIONS", {}),
        # A process that is stopped while it holds a row lock must not stop all the others.
        "options": "-c lock_timeout=10s -c statement_timeout=30s "
        "-c idle_in_transaction_session_timeout=15s -c tcp_user_timeout=15s",
    }
elif DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE serialises writers, so that a check and the write after it see the same
    # rows: what `select_for_update` does on PostgreSQL.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Queues ---------------------------------------------------------------------------
ENGINE_QUEUES: list[str] = env.list("STUDIO_ENGINE_QUEUES", default=["cpu"])
REDIS_URL = env.str("REDIS_URL", default="")
_REDIS = {"URL": REDIS_URL} if REDIS_URL else {"UNIX_SOCKET_PATH": str(DATA.socket()), "DB": 0}
RQ_QUEUES = {
    name: {
        **_REDIS,
        "SERIALIZER": "rq.serializers.JSONSerializer",
        "DEFAULT_TIMEOUT": -1,  # our leases and watchdog end what hangs; SIGALRM can't
        "DEFAULT_RESULT_TTL": 0,
    }
    for name in ["io", *ENGINE_QUEUES]
}
RQ = {"FAILURE_TTL": 3600}
# Its pages would let all staff empty queues, whatever their rights, and leave no record of it.
RQ_SHOW_ADMIN_LINK = False
CACHES = {
    # Counts how often people ask, in the same server; what waits for Valkey waits briefly.
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL or f"unix://{quote(str(DATA.socket()))}?db=0",
        "KEY_PREFIX": "studio",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}
DEVICES: list[str] = env.list("STUDIO_DEVICES", default=[])  # of GPU workers; empty: all GPUs
DRAIN_SECONDS = env.int("STUDIO_DRAIN_SECONDS", default=60)  # for the image in hand, when stopped
ENGINE_WORKERS = env.int("STUDIO_ENGINE_WORKERS", default=0)  # 0: from cores and memory

# --- Engines that only the operator can bring: docs/engines.md ------------------------------
VLM = {
    "url": env.str("STUDIO_VLM_URL", default=""),
    "model": env.str("STUDIO_VLM_MODEL", default=""),
    "key": env.str("STUDIO_VLM_KEY", default=""),
}
PROVIDER = {
    "protocol": env.str("STUDIO_PROVIDER_PROTOCOL", default="openai"),
    "url": env.str("STUDIO_PROVIDER_URL", default=""),
    "model": env.str("STUDIO_PROVIDER_MODEL", default=""),
    "edit_model": env.str("STUDIO_PROVIDER_EDIT_MODEL", default=""),
    "key": env.str("STUDIO_PROVIDER_KEY", default=""),
    "sizes": env.list("STUDIO_PROVIDER_SIZES", default=["1024x1024", "1536x1024", "1024x1536"]),
    "edits": env.bool("STUDIO_PROVIDER_EDITS", default=True),
    "seeds": env.bool("STUDIO_PROVIDER_SEEDS", default=False),
    "idempotent": env.bool("STUDIO_PROVIDER_IDEMPOTENT", default=False),
}
PROVIDER_MAX_CALLS_PER_DAY = env.int("STUDIO_PROVIDER_MAX_CALLS_PER_DAY", default=200)
PROVIDER_CALLBACKS = env.bool("STUDIO_PROVIDER_CALLBACKS", default=False)
DIFFUSION_INPAINT = (
    env.str("STUDIO_DIFFUSION_INPAINT", default=""),
    env.str("STUDIO_DIFFUSION_INPAINT_REVISION", default=""),
)
DIFFUSION_EDIT = (
    env.str("STUDIO_DIFFUSION_EDIT", default=""),
    env.str("STUDIO_DIFFUSION_EDIT_REVISION", default=""),
)
DIFFUSION_STEPS = env.int("STUDIO_DIFFUSION_STEPS", default=30)
DIFFUSION_ELSEWHERE = env.bool("STUDIO_DIFFUSION_ELSEWHERE", default=False)

# --- Google Sheets: docs/google-sheets.md ---------------------------------------------------
GOOGLE = {
    "credentials": env.str("STUDIO_GOOGLE_CREDENTIALS", default=""),
    "api": env.str("STUDIO_GOOGLE_API", default="https://sheets.googleapis.com").rstrip("/"),
    "docs": env.str("STUDIO_GOOGLE_DOCS", default="https://docs.google.com").rstrip("/"),
}

# --- Files ----------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var/static"
STATICFILES_DIRS = [BASE_DIR / "static"]
if env.str("STUDIO_STORAGE", default="disk") == "s3":
    _S3_ENDPOINT = env.str("STUDIO_S3_ENDPOINT", default="")
    STORAGES: dict[str, Any] = {
        alias: buckets.options(
            env.str(f"STUDIO_{alias.upper()}_BUCKET", default=""), endpoint=_S3_ENDPOINT
        )
        for alias in ("originals", "results")
    }
    # The bucket of originals as people's own programs see it, who upload straight to it.
    STORAGES["direct"] = buckets.options(
        env.str("STUDIO_ORIGINALS_BUCKET", default=""),
        endpoint=env.str("STUDIO_S3_PUBLIC_ENDPOINT", default="") or _S3_ENDPOINT,
    )
else:
    STORAGES = {
        alias: {
            "BACKEND": "batches.storage.DurableFileSystemStorage",
            "OPTIONS": {"location": str(DATA.media / alias), "allow_overwrite": True},
        }
        for alias in ("originals", "results")
    }
STORAGES["default"] = STORAGES["originals"]
STORAGES["staticfiles"] = {
    "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage",
}
WHITENOISE_MANIFEST_STRICT = False

# --- Limits ---------------------------------------------------------------------------
IMAGE_MAX_BYTES = 20 * 1024 * 1024
IMAGE_MAX_PIXELS = 50_000_000
FETCH_ALLOW: list[str] = env.list("STUDIO_FETCH_ALLOW", default=[])

# --- Accounts elsewhere ---------------------------------------------------------------
SIRV_API_URL = env.str("STUDIO_SIRV_API_URL", default="https://api.sirv.com")
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024  # of JSON and form fields; files are not counted
WELCOME_CREDITS = env.int("STUDIO_WELCOME_CREDITS", default=25)

# --- Admin ----------------------------------------------------------------------------
ENVIRONMENT = env.str("STUDIO_ENVIRONMENT", default="")  # what staff and Sentry call this site
UNFOLD = admin_site.settings(environment=ENVIRONMENT)

# --- API ------------------------------------------------------------------------------
API_READS_PER_HOUR = env.int("STUDIO_API_READS_PER_HOUR", default=50_000)
API_WRITES_PER_HOUR = env.int("STUDIO_API_WRITES_PER_HOUR", default=5_000)
# Programs in browsers at these addresses may read answers; none may send somebody's session.
CORS_ALLOWED_ORIGINS: list[str] = env.list("STUDIO_CORS_ORIGINS", default=[])
CORS_URLS_REGEX = r"^/api/v1/"
CORS_ALLOW_HEADERS = [
    *("authorization", "content-type", "idempotency-key", "if-none-match"),
    *("if-range", "range", "x-request-id"),
]
CORS_ALLOW_METHODS = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]
CORS_EXPOSE_HEADERS = [
    *("Content-Disposition", "ETag", "Idempotent-Replayed", "Location"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"),
    *("X-Credits-Charged", "X-Credits-Remaining", "X-Request-Id"),
]
RUN_WAITS = env.int("STUDIO_RUN_WAITS", default=8)  # requests of one process that wait for an image
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["studio.api.JsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "studio.api.JsonAlways",
    "DEFAULT_THROTTLE_CLASSES": ["studio.api.HourlyLimit"],
    "DEFAULT_SCHEMA_CLASS": "studio.openapi.Operation",
    "EXCEPTION_HANDLER": "studio.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AI image studio",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "BatchStatus": "batches.states.BatchState",
        "EntryKind": "credits.models.EntryKind",
        "Place": "batches.exports.registry.PLACES",
        "WebhookEvent": "batches.outbox.EVENTS",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "WEBHOOKS": [
        "batches.webhook_bodies.BATCH_FINISHED",
        "batches.webhook_bodies.BATCH_SAMPLED",
        "batches.webhook_bodies.DELIVERY_FINISHED",
        "batches.webhook_bodies.ASSET_CREATED",
        "batches.webhook_bodies.ASSET_UPDATED",
        "batches.webhook_bodies.ASSET_DELETED",
        "batches.webhook_bodies.ASSET_PROCESSED",
        "batches.webhook_bodies.PING",
    ],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "studio.openapi.complete",
    ],
}

# --- Language and time ----------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]  # what is complete; a second one brings the switch to all pages
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

# --- Security -------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
if HTTPS:
    SECURE_HSTS_SECONDS = env.int("STUDIO_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # a balancer asks over plain HTTP
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "studio.failures.csrf"
CONTENT_SECURITY_POLICY = {
    # Everything comes from this site, and nothing is written into a page: no inline script, no
    # style attribute. `blob:` are files that somebody has just chosen and that are on their way.
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "worker-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# --- Logs -----------------------------------------------------------------------------
LOGGING = logs.settings(
    level=env.str("STUDIO_LOG_LEVEL", default="WARNING"),
    form=env.str("STUDIO_LOG_FORMAT", default="plain"),
)
if dsn := env.str("SENTRY_DSN", default=""):
    sentry.start(dsn, environment=env.str("SENTRY_ENVIRONMENT", default=ENVIRONMENT))

# --- Metrics --------------------------------------------------------------------------
METRICS_TOKEN = env.str("STUDIO_METRICS_TOKEN", default="")  # without one: this machine alone
