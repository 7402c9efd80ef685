"""What the documents show of an election is what the core does."""

from __future__ import annotations

from . import golden


def test_the_election_of_the_documents_is_what_the_core_does():
    assert golden.page(golden.election()) == golden.PAGE.read_text(), (
        "python -m tests.simulation.golden writes it"
    )


def test_the_election_of_the_documents_begins_with_a_loss_and_ends_with_reads():
    lines = golden.election()
    assert "is lost" in lines[0]
    assert any("is leader in term" in line for line in lines)
    assert [line.split()[1] for line in lines if "serves reads again" in line] == ["n3", "n2"]
