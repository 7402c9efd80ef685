"""A file that takes room to give it back: on a full file system not even a removal finds the pages that it needs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from django_hacache.system.directory import open_private
from django_hacache.system.safe_path import NoDirectory

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "reserve"
SIZE = 512 << 10


class Reserve:
    def __init__(self, location: Path) -> None:
        self._location = location

    def fill(self) -> None:
        """Take the room, where there is enough; otherwise leave it to others until the next time."""
        with open_private(self._location) as directory:
            descriptor = directory.open(FILE_NAME, os.O_RDWR | os.O_CREAT)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        except OSError:
            self.release()
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give it back."""
        with suppress(NoDirectory), open_private(self._location) as directory:
            directory.remove(FILE_NAME)
