"""A file that takes room to give it back: on a full file system not even a removal finds the pages that it needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django_hacache.replica.directory import PRIVATE_FILE

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "reserve"
SIZE = 512 << 10


class Reserve:
    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def fill(self) -> None:
        """Take the room, where there is enough; otherwise leave it to others until the next time."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        except OSError:
            self.release()
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)
