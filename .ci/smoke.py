"""What somebody finds who installs the wheel and nothing else: run by .ci/wheel.py, outside of the checkout.

Every module can be imported, what is no module is there, and a cluster of one serves a cache to another process. Knows
nothing but the installed package.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import django_hacache

PATIENCE_S = 60
SETTINGS = """
SECRET_KEY = "for this test"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_hacache",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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
STATIC_URL = "static/"
CACHES = {"default": {"BACKEND": "django_hacache.cache.HACache", "LOCATION": "%(location)s"}}
HACACHE = {
    "HA_MODE": True,
    "HA_HOSTS": "http://%(addr)s",
    "HOSTNAME_OVERWRITE": "%(addr)s",
    "CACHE_TLS": False,
    "CACHE_AUTH_TOKEN": "kX3v9Qm2Lr8Tz5Wb7Nc4Hf6Jd1Gs0Pa-yU",
}
"""
WRITE = """
import django
django.setup()
from django.core.cache import cache
cache.set("answer", {"is": 42})
assert cache.add("count", 0)
assert cache.incr("count") == 1
"""
READ = """
import django
django.setup()
from django.core.cache import cache
assert cache.get("answer") == {"is": 42}, cache.get("answer")
assert cache.get("count") == 1
assert cache.get("nothing") is None
"""
FILES = (
    "py.typed",
    "static/django_hacache/cluster.css",
    "templates/django_hacache/cluster.html",
    "wire/cache_pb2.pyi",
)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def import_everything() -> int:
    """Import each module of the package; return how many there are."""
    import django  # noqa: PLC0415 - the settings come first

    django.setup()
    names = [module.name for module in pkgutil.walk_packages(django_hacache.__path__, "django_hacache.")]
    for name in names:
        importlib.import_module(name)
    return len(names)


def python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, timeout=PATIENCE_S)


def serve_and_use() -> None:
    node = subprocess.Popen([sys.executable, "-m", "django", "hacache_node"])
    try:
        deadline = time.monotonic() + PATIENCE_S
        # It exits with 0 once the cluster is well.
        while subprocess.run([sys.executable, "-m", "django", "hacache_status"], check=False).returncode:
            if node.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the node does not serve; it ended with {node.poll()}")
            time.sleep(0.2)
        python("-c", WRITE)
        python("-c", READ)
    finally:
        node.terminate()
        if node.wait(PATIENCE_S):
            raise SystemExit(f"the node ended with {node.returncode}")


def main() -> int:
    here = Path.cwd()
    (here / "smoke_settings.py").write_text(SETTINGS % {"location": here / "cache", "addr": free_address()})
    os.environ["DJANGO_SETTINGS_MODULE"] = "smoke_settings"
    os.environ["PYTHONPATH"] = str(here)
    sys.path.insert(0, str(here))
    package = Path(django_hacache.__file__).parent
    if "site-packages" not in package.parts:
        raise SystemExit(f"what is tested must be installed, and is {package}")
    missing = [name for name in FILES if not (package / name).is_file()]
    if missing:
        raise SystemExit(f"the wheel lacks {', '.join(missing)}")
    count = import_everything()
    python("-m", "django", "check", "--fail-level", "ERROR")
    serve_and_use()
    print(f"wheel: {count} modules can be imported, and a node served a cache to another process")
    return 0


if __name__ == "__main__":
    sys.exit(main())
