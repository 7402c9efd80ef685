"""What the documents say is what the code does: names, links, versions, targets."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from django_hacache.conf.problems import Id, explanation_of
from tests.faults.measurements import MEASUREMENTS

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCE = "\n".join(
    path.read_text()
    for folder in ("django_hacache", "testproject")
    for path in (ROOT / folder).rglob("*.py")
    if "wire" not in path.parts
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Where a file of the project is seen by who has the package only.
FILES = f"{PROJECT['urls']['Homepage']}/blob/main/"

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def versions(prefix: str) -> list[str]:
    """The versions in the classifiers that begin with `prefix`."""
    pattern = re.compile(re.escape(prefix) + r" :: (\d+\.\d+)$")
    return [match[1] for line in PROJECT["classifiers"] if (match := pattern.match(line))]


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> Iterator[str]:
    """Where a document's links lead, written inline or below it."""
    text = document.read_text()
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)


def inside(document: Path) -> Iterator[str]:
    """Those that lead to a file of the project, as a path from the document."""
    for link in links(document):
        if link.startswith(FILES):
            yield os.path.relpath(ROOT / link.removeprefix(FILES), document.parent)
        elif not link.startswith(("http:", "https:", "mailto:")):
            yield link


@each_document
def test_every_link_inside_the_documents_leads_somewhere(document: Path) -> None:
    for link in inside(document):
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_the_readme_has_addresses_only_since_a_package_index_shows_it_too() -> None:
    readme = ROOT / "README.md"
    assert [link for link in links(readme) if not link.startswith("https://")] == []
    text, _, definitions = readme.read_text().partition("\n[changes]: ")
    defined = set(re.findall(r"^\[([^\]]+)\]: ", f"[changes]: {definitions}", re.MULTILINE))
    assert {label for label in re.findall(r"\]\[([a-z -]+)\]", text) if label not in defined} == set()
    assert {label for label in defined if f"[{label}]" not in text.lower()} == set()


@pytest.mark.parametrize("problem", Id)
def test_the_hint_of_every_check_leads_to_its_section(problem: Id) -> None:
    file, _, anchor = explanation_of(problem).removeprefix(FILES).partition("#")
    assert anchor in anchors(ROOT / file)


@each_document
def test_every_variable_that_a_document_names_is_read_by_the_code(document: Path) -> None:
    named = set(
        re.findall(r"\b(?:HA|CACHE|HOSTNAME|HACACHE|DEMO|DJANGO)_[A-Z_]+[A-Z]\b", document.read_text())
    )
    known = set(re.findall(r"[A-Z][A-Z_]+[A-Z]", SOURCE)) | {
        "DJANGO_SETTINGS_MODULE",
        "HACACHE_REQUIRE_ALL_TESTS",
    }
    assert named <= known


@each_document
def test_every_management_command_that_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"manage\.py (hacache_\w+)", document.read_text()))
    assert named <= set(get_commands())


@each_document
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", document.read_text(), re.MULTILINE))
    assert named <= targets


@each_document
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    for path in re.findall(r"\btests/[\w/]+\.py\b", document.read_text()):
        assert (ROOT / path).is_file(), path


def named_on_the_ways() -> list[str]:
    """The functions and classes in the tables of the ways of a read and of a write."""
    lines = (ROOT / "docs/explanation/architecture.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    return sorted({name for row in rows for name in re.findall(r"`(\w+(?:\.\w+)+)`", row)})


@pytest.mark.parametrize("named", named_on_the_ways())
def test_every_function_on_the_way_of_a_read_or_a_write_exists(named: str) -> None:
    assert callable(pkgutil.resolve_name(f"django_hacache.{named}"))


def test_the_ways_of_a_read_and_of_both_writes_are_told() -> None:
    assert len(named_on_the_ways()) > 20


def test_every_measurement_covers_a_scenario_and_every_scenario_names_real_ones() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    table = page.partition("## What covers which scenario")[2].partition("Not covered")[0]
    named = set(re.findall(r"`(\w+)`", table.partition("|---|---|")[2]))
    assert named == set(MEASUREMENTS)


def test_the_readme_names_every_cache_option() -> None:
    options = set(
        re.findall(r'source\.read\("([A-Z_]+)"', (ROOT / "django_hacache/conf/options.py").read_text())
    )
    readme = (ROOT / "README.md").read_text()
    assert options
    assert {option for option in options if f"`{option}`" not in readme} == set()


def test_the_readme_names_the_supported_versions() -> None:
    readme = (ROOT / "README.md").read_text()
    python, django = versions("Programming Language :: Python"), versions("Framework :: Django")
    assert f"Python {python[0]} to {python[-1]}" in readme
    assert f"Django {django[0]} to {django[-1]}" in readme


def test_tox_runs_every_supported_version() -> None:
    tox = (ROOT / "tox.ini").read_text()
    for python in versions("Programming Language :: Python"):
        short = python.replace(".", "")
        assert re.search(rf"py{short}\b|[{{,]{short.removeprefix('py')}[,}}]", tox), python
    for django in versions("Framework :: Django"):
        assert f"django{django.replace('.', '')}: django>={django}" in tox


def test_the_public_ci_runs_every_supported_version() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    for name, prefix in (("python", "Programming Language :: Python"), ("django", "Framework :: Django")):
        assert f"{name}: {json.dumps(versions(prefix))}" in workflow


def test_every_make_target_and_file_that_a_workflow_or_a_hook_runs_exists() -> None:
    runs = "\n".join(
        path.read_text()
        for path in [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    )
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)$", runs, re.MULTILINE)) <= targets
    for path in re.findall(r"(?:tests|\.ci)/\w+", runs):
        assert (ROOT / path).exists(), path


def test_the_oldest_python_is_the_same_everywhere() -> None:
    oldest = versions("Programming Language :: Python")[0]
    assert PROJECT["requires-python"] == f">={oldest}"
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in (ROOT / "Makefile").read_text()
