"""Redriving dead letters: what a filter would redrive, and what became of it; pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reading.letters import redriven_by
from reading.models.dead_letters import DeadLetterPage, DeadLetterSummary
from web.views.dead_letters import LetterFilters, LetterRow, letter_row
from web.wording import counted

#: Rows of a trial that are shown.
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of one dead letter."""

    letter: DeadLetterSummary
    #: Why it was not redriven; null where it was.
    refused: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What redriving by a filter would do."""

    filters: LetterFilters
    letters: list[DeadLetterSummary]
    rows: list[LetterRow]
    #: Of the rows that are not shown.
    hidden: int
    #: Such as `200 records`.
    counted: str
    #: Whether more match than are redriven at once.
    more: bool
    back: str
    action: str
    #: Steps that are run again here, and other records, whose bytes the command line sends again.
    steps: int
    records: int
    commands: list[str]

    @property
    def before(self) -> str:
        """The time of the newest of them."""
        return self.letters[0].at.isoformat() if self.letters else ""

    def steps_up_to(self, moment: str) -> list[DeadLetterSummary]:
        """The letters of steps that are not newer than this moment."""
        return [
            one
            for one in self.letters
            if one.at.isoformat() <= moment and letters_by(one) == "rerun"
        ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a redrive."""

    done: str
    refused: list[tuple[LetterRow, str]]

    @property
    def good(self) -> bool:
        """Whether every one was redriven."""
        return not self.refused


def trial(page: DeadLetterPage, filters: LetterFilters, most: int) -> Trial:
    """What redriving these would do."""
    letters = page.letters[:most]
    by_record = [one for one in letters if letters_by(one) == "record"]
    return Trial(
        filters=filters,
        letters=letters,
        rows=[letter_row(one) for one in letters[:_SHOWN]],
        hidden=max(len(letters) - _SHOWN, 0),
        counted=counted(len(letters), "record"),
        more=page.next is not None,
        back=f"/dead-letters{filters.query()}",
        action=f"/dead-letters/redrive{filters.query()}",
        steps=len(letters) - len(by_record),
        records=len(by_record),
        commands=sorted({_command(one) for one in by_record}),
    )


def letters_by(letter: DeadLetterSummary) -> Literal["record", "rerun"]:
    """How a letter is redriven."""
    return redriven_by(letter.error_class, letter.source_topic)


def command_of(letter: DeadLetterSummary) -> str:
    """The command that redrives one letter."""
    topic = shlex.quote(letter.topic)
    return f"runstream dlq redrive {topic} {letter.partition} {letter.offset}"


def _command(letter: DeadLetterSummary) -> str:
    """The command that redrives those of one topic and class."""
    topic = shlex.quote(letter.topic)
    if letter.error_class is None:
        return f"runstream dlq redrive {topic} --all"
    return f"runstream dlq redrive {topic} --class {shlex.quote(letter.error_class)}"


def outcome(results: Sequence[Redriven]) -> Outcome:
    """What became of them."""
    done = sum(1 for one in results if one.refused is None)
    return Outcome(
        done=f"{counted(done, 'dead letter')} redriven",
        refused=[
            (letter_row(one.letter), one.refused) for one in results if one.refused is not None
        ],
    )
