"""What a signal handler raised belongs to the caller, wherever it came from."""

from __future__ import annotations

import traceback


def swallowed(error: BaseException) -> str:
    return "what a signal handler raised never arrived:\n" + "".join(traceback.format_exception(error))
