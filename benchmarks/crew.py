"""Worker processes, as the parent sees them: started once, warm, told what to do line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.subprocesses import STOP_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.places import Site


class WorkerFailed(Exception):
    """A worker raised; the message is its traceback."""


class Crew:
    """`size` workers, spread over `sites`; one process at each of them forks its share."""

    def __init__(self, sites: Sequence[Site], size: int = 1) -> None:
        shares = [len(range(first, size, len(sites))) for first in range(len(sites))]
        self._processes = [
            subprocess.Popen(
                site.place.command(sys.executable, "-m", "benchmarks.worker", str(share)),
                env=site.environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            for site, share in zip(sites, shares, strict=True)
            if share
        ]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def ask(self, do: str, **arguments: Any) -> list[Any]:
        """Tell all workers at once to do something; return what each of them answers."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            process.stdin.flush()
        return [answer for process in self._processes for answer in self._answers(process)]

    def _answers(self, process: subprocess.Popen[str]) -> list[Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise WorkerFailed(f"worker {process.pid} ended with exit code {process.wait()}")
        answers = json.loads(line)
        for answer in answers:
            if "error" in answer:
                raise WorkerFailed(answer["error"])
        return [answer["answer"] for answer in answers]

    def stop(self) -> None:
        """End the workers: their input ends."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
