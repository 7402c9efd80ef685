"""Django's system checks: the problems of the configuration, as `manage.py check` shows them.

Knows no rule: conf/ has them all, so that a check and a start never disagree.
"""

from __future__ import annotations

from typing import Any

from django.core import checks

from django_hacache.conf import problems


def check_configuration(**_kwargs: Any) -> list[checks.CheckMessage]:
    """One message for every problem of settings.HACACHE, the environment and CACHES."""
    return [
        checks.CheckMessage(problem.level, problem.message, hint=problem.hint, id=problem.id)
        for problem in problems()
    ]
