"""Django settings, built from the typed configuration; no environment variable is read here."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.templatetags.static import static

from agents.api.schema import about as schema
from bandstand import VERSION, databases, email_url, logs
from bandstand import config as configuration
from bandstand.config import ROOT
from bandstand.embedded.errors import EmbeddedError

BANDSTAND = configuration.load_or_exit()
BANDSTAND_VERSION = VERSION

# Keys. The previous key is still accepted, so that a rotation does not sign users out.
SECRET_KEY = BANDSTAND.secret_key.get_secret_value()
SECRET_KEY_FALLBACKS = [BANDSTAND.secret_key_previous.get_secret_value()] if BANDSTAND.secret_key_previous else []

# The application.
DEBUG = False
ROOT_URLCONF = "bandstand.urls"
ASGI_APPLICATION = "bandstand.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "bandstand.formats"
STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "bandstand.static_collection.VersionedStaticFilesStorage"},
}
STATICFILES_DIRS = [ROOT / "agents" / "pages" / "static"]
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before the admin, whose templates it overrides
    "unfold.contrib.filters",
    "bandstand.console_app.ConsoleConfig",  # django.contrib.admin, without its discovery
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",  # also checks the schema in `check --deploy`; imported on the first request for the schema
    "drf_spectacular_sidecar",
    "channels",
    "bandstand",
    "console",
    "ratelimits",
    "accounts",
    "scheduling",
    "django_q",  # after ours, whose command of the same name is meant
    "rest",
    "memory",
    "agents",
    "monitoring",
]
MIDDLEWARE = [
    "bandstand.health.ProbeMiddleware",
    "bandstand.thread_turns.ThreadTurnsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "agents.pages.csp.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# The database.
try:
    DATABASES = databases.settings(BANDSTAND)
except EmbeddedError as error:
    raise SystemExit(f"bandstand: {error}") from None

# Users and logins.
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"

# E-mail. Without EMAIL_URL none is sent (`accounts.email_outbox`).
_MAIL = BANDSTAND.mail_server or email_url.MailServer("localhost", 25, email_url.Encryption.NONE)
EMAIL_HOST, EMAIL_PORT = _MAIL.host, _MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _MAIL.user, _MAIL.password
EMAIL_USE_TLS = _MAIL.encryption is email_url.Encryption.STARTTLS
EMAIL_USE_SSL = _MAIL.encryption is email_url.Encryption.TLS
EMAIL_TIMEOUT = email_url.TIMEOUT_SECONDS
if BANDSTAND.email_from:
    DEFAULT_FROM_EMAIL = SERVER_EMAIL = BANDSTAND.email_from

# Browsers. A proxy terminates TLS; `bandstand.web.proxies` passes on the scheme that the browser used.
_LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
_PUBLIC_HOST = urlsplit(BANDSTAND.public_url).hostname if BANDSTAND.public_url else None
ALLOWED_HOSTS = [
    *(BANDSTAND.allowed_hosts or ([_PUBLIC_HOST] if _PUBLIC_HOST else [*_LOOPBACK, BANDSTAND.host])),
    *(_LOOPBACK if _PUBLIC_HOST and not BANDSTAND.secure else []),
]
CSRF_TRUSTED_ORIGINS = [*BANDSTAND.csrf_trusted_origins, *([BANDSTAND.public_url] if BANDSTAND.public_url else [])]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BANDSTAND.secure
# Cookies ignore ports: without it, two installations on one host would sign each other's users out.
SESSION_COOKIE_NAME = "__Host-bandstand" if BANDSTAND.secure else f"bandstand_{BANDSTAND.port}"
CSRF_COOKIE_NAME = "__Host-csrf" if BANDSTAND.secure else f"csrf_{BANDSTAND.port}"
SESSION_ENGINE = "accounts.login_sessions"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = BANDSTAND.base_url.startswith("https:")
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE_SSL_REDIRECT else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_SSL_REDIRECT
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# W021: a place in the browsers' preload lists is the domain owner's decision, and hard to take back.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# Limits of a request; `bandstand.web.body_limit` applies before Django reads it. Larger bodies wait on disk.
DATA_UPLOAD_MAX_MEMORY_SIZE = BANDSTAND.completion_bytes
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 10

# The scheduler (django-q2). Nothing but maintenance runs here: it may run a task again that killed its worker
# (django-q2/django-q2#327).
Q_CLUSTER: dict[str, Any] = {
    "name": "bandstand",
    "orm": "default",
    "workers": 2,
    "timeout": 540,
    "retry": 600,  # at least timeout + 60, or a slow task is started twice
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "poll": 0.5,
    "guard_cycle": 1,
    "queue_limit": 50,
    "save_limit": 250,
    "recycle": 500,
    "label": "Scheduler",
}

# Logs.
LOGGING = logs.configure(BANDSTAND)


def _static(name: str) -> Callable[[object], str]:
    """The address of a file of ours, once Django can say it; the library calls this with each request."""
    return lambda _request: static(f"bandstand/{name}")


# The console's look.
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Bandstand console",
    "SITE_HEADER": "Bandstand",
    "SITE_SUBHEADER": "Console",
    "SITE_ICON": _static("shared/favicon.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("shared/favicon.svg")}],
    "STYLES": [_static(f"console/{name}.css") for name in ("theme", "components", "lists", "pages")],
    "SITE_URL": None,  # the sidebar leads to the chat
    "SHOW_HISTORY": False,  # the audit trail replaces it
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
}

# The REST interface.
REST_FRAMEWORK: dict[str, Any] = {"DEFAULT_SCHEMA_CLASS": schema.INSPECTOR}
SPECTACULAR_SETTINGS: dict[str, Any] = schema.SETTINGS
