"""Where a replica lives: the directory that LOCATION names, and the default one.

Computes paths only: the replica's room makes the directory and guards it.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from importlib import import_module
from pathlib import Path

from django.conf import settings

from django_hacache.conf.parsers import system_path
from django_hacache.link.address import SOCKET_NAME
from django_hacache.system.platform import SOCKET_PATH_BYTES_MAX

# "$HOME/x", "${HOME}/x", "$(pwd)/x", "%HOME%/x", "{{ home }}/x": a shell's, or a template's.
VARIABLE = re.compile(r"\$[A-Za-z_({]|%[A-Za-z_]+%|\{\{")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the directory in it is ours alone (0700, ownership checked)


def default_location() -> Path:
    """The directory of this user and this project, the same for every process whatever its working directory.

    On tmpfs (/dev/shm), or in the system's temporary directory where there is none.
    """
    usable = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK | os.X_OK)
    parent = SHARED_MEMORY if usable else Path(tempfile.gettempdir())
    identity = f"{_settings_module()}\0{project_directory() or ''}"
    digest = hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]
    return parent / f"django_hacache-{os.getuid()}-{digest}"


def parse_location(raw: object) -> Path:
    """The directory that LOCATION names, or the default one. ValueError says what is expected."""
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        location = default_location()
    else:
        location = system_path(raw, "the path of a directory")
        # Each of these would become a directory in the project, named "~", "$HOME" or "redis:".
        if isinstance(raw, str) and ("://" in raw or "?" in raw or raw.startswith("//")):
            raise ValueError("the path of a directory, no URL: the other hosts belong in HA_HOSTS")
        _ensure_written_out(str(location))
        if isinstance(raw, str) and not location.is_absolute() and _is_no_path(raw):
            raise ValueError(
                "the path of a directory, such as '/run/mysite', where this host keeps its copy; what tells caches "
                'apart is the alias, or OPTIONS["CACHE_NAME"]'
            )
        if not location.is_absolute():
            base = base_directory()
            if base is None:
                raise ValueError("an absolute path, since settings.BASE_DIR names no directory to count from")
            location = base / location
    location = Path(os.path.normpath(location))
    socket = os.fsencode(location / SOCKET_NAME)
    if len(socket) > SOCKET_PATH_BYTES_MAX:
        raise ValueError(
            f"a shorter path: with it that of the node's socket has {len(socket)} bytes, "
            f"a Unix socket's path at most {SOCKET_PATH_BYTES_MAX}"
        )
    return location


def _ensure_written_out(path: str) -> None:
    if path.startswith("~"):
        raise ValueError("a path that does not begin with '~': write the home directory out")
    if VARIABLE.search(path):
        raise ValueError("a path without variables, since nobody expands them: write out what they stand for")
    if path != path.strip():
        raise ValueError("a path with no blank at either end")
    if not path.isprintable():
        raise ValueError("a path of printable characters")


def _is_no_path(raw: str) -> bool:
    # Other backends take a name ("unique-snowflake", a table's), "127.0.0.1:11211", "unix:/run/memcached.sock".
    first, slash, _ = raw.partition("/")
    return not slash or ":" in first


def file_path(raw: object) -> Path:
    """An absolute path; a relative one counts from settings.BASE_DIR, or from the working directory."""
    return (base_directory() or Path.cwd()) / system_path(raw, "the path of a file")


def base_directory() -> Path | None:
    """settings.BASE_DIR where it is an absolute path."""
    base = getattr(settings, "BASE_DIR", None)
    if isinstance(base, str | os.PathLike) and Path(os.fsdecode(base)).is_absolute():
        return Path(os.fsdecode(base))
    return None


def project_directory() -> Path | None:
    """What tells two projects of one user apart: BASE_DIR, else the directory of the settings module."""
    base = base_directory()
    if base is not None:
        return base
    module = _settings_module()
    file = import_module(module).__file__ if module else None
    return Path(file).parent if file else None


def _settings_module() -> str:
    # Under override_settings the settings object has forgotten its module's name, the environment has not.
    return getattr(settings, "SETTINGS_MODULE", None) or os.environ.get("DJANGO_SETTINGS_MODULE", "")
