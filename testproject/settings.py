"""Settings of the demo site. The cluster is configured by the environment alone (HA_MODE, HA_HOSTS, ...)."""

from __future__ import annotations

from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()

DEBUG = env.bool("DJANGO_DEBUG", default=True)
# The demo's hosts share their sessions, so they share this. A real site never has its key in its source.
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="insecure: this site listens on this machine only")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "demo.localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_hacache",
    "testproject.articles",
]

MIDDLEWARE = [
    "testproject.articles.middleware.tell_who_served",
    "django.middleware.security.SecurityMiddleware",
    "testproject.articles.middleware.ClusterSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "testproject.articles.middleware.NodeGone",
]

ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"

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

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": env.str("DEMO_DATABASE", default=str(BASE_DIR / ".demo" / "site.sqlite3")),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# One directory is one host's replica. Empty: a directory private to this user and project.
HACACHE_LOCATION = env.str("HACACHE_LOCATION", default="")

CACHES = {
    # Pages, fragments and counters: without the cache the site is slower, not down.
    "default": {
        "BACKEND": "django_hacache.cache.HACache",
        "LOCATION": HACACHE_LOCATION,
        "TIMEOUT": 60,
        "OPTIONS": {"IGNORE_EXCEPTIONS": True, "LOG_IGNORED_EXCEPTIONS": True},
    },
    # Logins have an alias of their own, so that clearing the pages logs nobody out.
    "sessions": {
        "BACKEND": "django_hacache.cache.HACache",
        "LOCATION": HACACHE_LOCATION,
    },
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
SESSION_CACHE_ALIAS = "sessions"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "account"
LOGOUT_REDIRECT_URL = "article-list"

STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"

# How this process calls itself in the foot of each page.
DEMO_HOST = env.str("DEMO_HOST", default="this machine")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"django_hacache": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
