"""A worker process: does what each line of JSON on its input says, and answers with a line.

`python -m benchmarks.worker N` with N above 1 forks N workers before any cache is touched, passes every line
on to all of them and answers with all their answers.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import django
from django.conf import settings
from django.utils.module_loading import import_string

Tasks = Mapping[str, Callable[..., Any]]


def main() -> None:
    size = int(sys.argv[1])
    # Nothing that is printed by accident may come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    django.setup()
    from benchmarks.work import TASKS

    if size == 1:
        for line in sys.stdin:
            print(json.dumps([perform(TASKS, line)]), file=answers, flush=True)
    else:
        # Imported once for all; a cache is not made, for connections do not survive a fork.
        import_string(settings.CACHES["default"]["BACKEND"])
        lead([fork(TASKS) for _ in range(size)], answers)


def perform(tasks: Tasks, line: str) -> dict[str, Any]:
    arguments = json.loads(line)
    try:
        return {"answer": tasks[arguments.pop("do")](**arguments)}
    except Exception:  # noqa: BLE001 - the parent tells it and ends the run
        return {"error": traceback.format_exc()}


def fork(tasks: Tasks) -> tuple[TextIO, TextIO]:
    """Fork a worker; return what writes to it and what reads from it."""
    commands_in, commands_out = os.pipe()
    answers_in, answers_out = os.pipe()
    if os.fork() == 0:
        os.close(commands_out)
        os.close(answers_in)
        with os.fdopen(commands_in) as commands, os.fdopen(answers_out, "w") as answers:
            for line in commands:
                print(json.dumps(perform(tasks, line)), file=answers, flush=True)
        os._exit(0)
    os.close(commands_in)
    os.close(answers_out)
    return os.fdopen(commands_out, "w"), os.fdopen(answers_in)


def lead(members: list[tuple[TextIO, TextIO]], answers: TextIO) -> None:
    for line in sys.stdin:
        for commands, _ in members:
            commands.write(line)
            commands.flush()
        print(json.dumps([json.loads(said.readline()) for _, said in members]), file=answers, flush=True)
    for commands, _ in members:
        commands.close()
    for _ in members:
        os.wait()


if __name__ == "__main__":
    main()
