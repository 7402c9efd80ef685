"""Reads the tokens of the cluster, and reports those that are no secret.

Nodes show each other the node token, clients show the client token. Each has fallbacks, which are accepted as well
while a new token replaces an old one. No message shows a token, nor the path of its file: somebody may have put the
token there.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from environ import Env

from django_hacache.conf.files import UnfitFile, content_of
from django_hacache.conf.location import file_path
from django_hacache.conf.parsers import secret
from django_hacache.conf.problems import Findings, Id
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from pathlib import Path

    from django_hacache.conf.sources import Source


class TokenSettings(NamedTuple):
    """The names of the settings of one kind of token."""

    token: str
    fallbacks: str
    file: str


CLIENT = TokenSettings("CACHE_AUTH_TOKEN", "CACHE_AUTH_TOKEN_FALLBACKS", "CACHE_AUTH_TOKEN_FILE")
NODE = TokenSettings("CACHE_NODE_TOKEN", "CACHE_NODE_TOKEN_FALLBACKS", "CACHE_NODE_TOKEN_FILE")
FILE_BYTES_MAX = 64 << 10
TOKEN_BYTES = 32
TOKEN_BYTES_MIN = 16
TOKEN_DIFFERENT_CHARACTERS = 8
# Printed in public documentation, ours or redhac's.
EXAMPLE_TOKENS = frozenset({"SuperSafeSecretToken1337", "write-your-own-token-of-32-bytes-or-more"})
NEW_TOKEN = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))".'  # noqa: S105 - advice


def read_tokens(
    source: Source, findings: Findings, named: TokenSettings, *, with_files: bool
) -> tuple[str, ...]:
    """Return the token and its fallbacks; nothing where there are none, or where they are in a file.

    with_files: read that file, too. Only a node does.
    """
    token = source.read(named.token, secret, default="", is_secret=True)
    fallbacks = source.read(named.fallbacks, secrets_list, default=(), is_secret=True)
    path = source.read(named.file, file_path, default=None, is_secret=True)
    if path is None:
        return (token, *fallbacks) if token or fallbacks else ()
    if token or fallbacks:
        findings.add(
            Id.TOKEN_FILE,
            f"{named.file} is set, in {source.origin_of(named.file)}, and so is {named.token} or {named.fallbacks}: "
            "expected the tokens in one place.",
            f"Remove {named.token} and {named.fallbacks}, or {named.file}.",
        )
    return _tokens_in(path, source, findings, named.file) if with_files else ()


def secrets_list(raw: object) -> tuple[str, ...]:
    """Return the tokens of a text with commas, or of a list, without empty ones: an unset variable leaves one."""
    entries = Env.parse_value(raw, list) if isinstance(raw, str) else raw
    if not isinstance(entries, list | tuple):
        raise ValueError("a text or a list of tokens")  # noqa: TRY004 - a parser has one way to say no
    tokens = (secret(entry.strip() if isinstance(entry, str) else entry) for entry in entries)
    return tuple(token for token in tokens if token)


def _tokens_in(path: Path, source: Source, findings: Findings, name: str) -> tuple[str, ...]:
    flaw = ""
    tokens: tuple[str, ...] = ()
    try:
        tokens = tuple(secret(line) for line in _content_of(path).decode().splitlines() if line.strip())
    except UnfitFile as unfit:
        ensure_own(unfit)
        flaw = str(unfit)
    except OSError as error:
        ensure_own(error)
        flaw = f"it cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        flaw = "it is no text"
    except ValueError as expected:
        flaw = f"a line of it is no token: expected {expected}"
    if not (tokens or flaw):
        flaw = "it is empty"
    if flaw:
        source.failed.add(name)
        findings.add(
            Id.TOKEN_FILE,
            f"{name}, from {source.origin_of(name)}, names a file (not shown, in case it is the token itself): {flaw}.",
            "Write the token into the first line, and each one that is accepted as well into a line of its own.",
        )
    return tokens


def _content_of(path: Path) -> bytes:
    """Return the file's content. Raises UnfitFile where another user could have written it."""
    content, state = content_of(path, FILE_BYTES_MAX)
    if state.st_uid not in (0, os.geteuid()):
        raise UnfitFile(f"it belongs to user {state.st_uid}; expected root or the one who runs the node")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnfitFile(f"others may write to it, its mode is {state.st_mode & 0o7777:o}")
    return content


def check_tokens(client: tuple[str, ...], node: tuple[str, ...], source: Source, findings: Findings) -> None:
    """Report a token that is missing, and each that is no secret."""
    in_file = source.origin_of(CLIENT.file) != "the default"
    if not (source.failed & set(CLIENT) or in_file or (client and client[0])):
        findings.add(
            Id.TOKEN_MISSING,
            f"{CLIENT.token} is not set, neither in settings.HACACHE nor in the environment: expected a "
            f"secret of {TOKEN_BYTES} bytes or more, since HA_MODE is true.",
            NEW_TOKEN,
        )
    for named, tokens in ((CLIENT, client), (NODE, node)):
        for number, token in enumerate(tokens):
            if token:
                _check_token(token, _called(named, source, fallback=number > 0), findings)


def _called(named: TokenSettings, source: Source, *, fallback: bool) -> str:
    """Return what a message calls a token: its setting, and the origin of that."""
    file = source.origin_of(named.file)
    if file != "the default":
        return f"{'A later token' if fallback else 'The first token'} of {named.file}, from {file},"
    setting = named.fallbacks if fallback else named.token
    return f"{'A token of ' if fallback else ''}{setting}, from {source.origin_of(setting)},"


def _check_token(token: str, called: str, findings: Findings) -> None:
    few = f"has {len(token)} characters, {len(set(token))} of them different"
    if len(token) < TOKEN_BYTES_MIN:
        findings.add(
            Id.TOKEN_TOO_SHORT,
            f"{called} has {len(token)} bytes: expected {TOKEN_BYTES_MIN} at the very least, {TOKEN_BYTES} random ones "
            "are right.",
            NEW_TOKEN,
        )
    elif token in EXAMPLE_TOKENS or len(set(token)) < TOKEN_DIFFERENT_CHARACTERS:
        printed = "is printed in documentation" if token in EXAMPLE_TOKENS else ""
        findings.add(
            Id.GUESSABLE_TOKEN,
            f"{called} is easy to guess: it {printed or few}; {TOKEN_BYTES} random ones or more are better.",
            NEW_TOKEN,
        )
    elif len(token) < TOKEN_BYTES:
        findings.add(
            Id.SHORT_TOKEN,
            f"{called} has {len(token)} bytes: {TOKEN_BYTES} or more are better.",
            NEW_TOKEN,
        )
