"""What can be wrong with a configuration: each problem has a number, and all are gathered before one is raised.

The numbers are stable; docs/reference/checks.md has a section for each, and each hint has its address. To find the rule
behind a number, look for its name in `Id` in the modules of this room. Must not know a setting by name.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from django.core import checks

from django_hacache.exceptions import ConfigurationError
from django_hacache.system.printable import printable


class Id(enum.StrEnum):
    """Stable identifiers. E stops a start, W does not."""

    UNKNOWN_SETTING = "django_hacache.E001"
    INVALID_SETTING = "django_hacache.E002"
    HOSTS_MISSING = "django_hacache.E003"
    TWO_HOSTS = "django_hacache.E004"
    DUPLICATE_HOST = "django_hacache.E005"
    SCHEME_MISMATCH = "django_hacache.E006"
    NOT_A_HOST = "django_hacache.E007"
    TOKEN_MISSING = "django_hacache.E008"  # noqa: S105 - an identifier
    TLS_FILE = "django_hacache.E009"
    TLS_INCOMPLETE = "django_hacache.E010"
    RECONNECT_ORDER = "django_hacache.E011"
    UNKNOWN_OPTION = "django_hacache.E012"
    INVALID_OPTION = "django_hacache.E013"
    INVALID_LOCATION = "django_hacache.E014"
    BACKEND_IMPORT = "django_hacache.E015"
    TOO_MANY_ALIASES = "django_hacache.E016"
    CONTRADICTING_LIMITS = "django_hacache.E017"
    BASE_PEER = "django_hacache.E018"
    SYSTEM = "django_hacache.E019"
    UNFIT_LOCATION = "django_hacache.E020"
    LARGE_VALUES = "django_hacache.E021"
    TOKEN_TOO_SHORT = "django_hacache.E022"  # noqa: S105 - an identifier
    TOKEN_FILE = "django_hacache.E023"  # noqa: S105 - an identifier
    SHORT_SIGNING_KEY = "django_hacache.E024"

    SHORT_TOKEN = "django_hacache.W001"  # noqa: S105 - an identifier
    GUESSABLE_TOKEN = "django_hacache.W002"  # noqa: S105 - an identifier
    HOST_COUNT = "django_hacache.W003"
    NO_ALIAS = "django_hacache.W004"
    LONG_ALIAS = "django_hacache.W005"
    ELECTION_TIMEOUT = "django_hacache.W006"
    SEVERAL_LOCATIONS = "django_hacache.W007"
    UNKNOWN_PROJECT = "django_hacache.W008"
    WHICH_HOST = "django_hacache.W009"
    PLAIN_TEXT = "django_hacache.W010"
    STANDALONE_HOSTS = "django_hacache.W011"
    ON_DISK = "django_hacache.W012"
    ANOTHER_USERS = "django_hacache.W014"
    WEAK_SIGNING_KEY = "django_hacache.W015"
    OTHER_LIMITS = "django_hacache.W016"
    PARTLY_SIGNED = "django_hacache.W017"
    PAGES_RAISE = "django_hacache.W020"

    @property
    def level(self) -> int:
        return checks.ERROR if self.rpartition(".")[2].startswith("E") else checks.WARNING


CHECKS_PAGE = "https://github.com/django-hacache/django_hacache/blob/main/docs/reference/checks.md"


def explanation_of(problem: str) -> str:
    """Return the address of the problem's section in the documentation; its anchor is made of the heading."""
    return f"{CHECKS_PAGE}#{problem.lower().replace('.', '')}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `level` is Django's: `checks.ERROR` or `checks.WARNING`."""

    id: str
    message: str
    hint: str
    level: int


class Findings:
    """Gathers the problems of one reading of the configuration, in the order in which they are found."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, problem: Id, message: str, advice: str) -> None:
        hint = f"{advice} See {explanation_of(problem)}"
        found = Problem(str(problem), printable(message), printable(hint), problem.level)
        if found not in self.problems:  # several aliases may read one value
            self.problems.append(found)

    def raise_errors(self) -> None:
        """Raise `ConfigurationError` with every error's message, or return when there are warnings only."""
        errors = [problem.message for problem in self.problems if problem.level >= checks.ERROR]
        if errors:
            raise ConfigurationError("\n".join(errors))
