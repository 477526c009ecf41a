"""Redriving dead letters: what a filter would redrive, and what became of it; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reading.models.dead_letters import DeadLetterPage, DeadLetterSummary
from web.views.dead_letters import NO_CLASS, LetterFilters, LetterRow, letter_row
from web.wording import counted

#: Rows of a trial that are shown.
_SHOWN = 20


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
    topics: list[tuple[str, str, int]]

    @property
    def before(self) -> str:
        """The time of the newest of them."""
        return self.letters[0].at.isoformat() if self.letters else ""

    def up_to(self, moment: str) -> list[DeadLetterSummary]:
        """Those that are not newer than this moment."""
        return [one for one in self.letters if one.at.isoformat() <= moment]


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
    groups: dict[tuple[str, str], int] = {}
    for one in letters:
        name = (one.topic, one.error_class or NO_CLASS)
        groups[name] = groups.get(name, 0) + 1
    return Trial(
        filters=filters,
        letters=letters,
        rows=[letter_row(one) for one in letters[:_SHOWN]],
        hidden=max(len(letters) - _SHOWN, 0),
        counted=counted(len(letters), "record"),
        more=page.next is not None,
        back=f"/dead-letters{filters.query()}",
        action=f"/dead-letters/redrive{filters.query()}",
        topics=[(topic, name, count) for (topic, name), count in sorted(groups.items())],
    )


def outcome(results: Sequence[Redriven]) -> Outcome:
    """What became of them."""
    done = sum(1 for one in results if one.refused is None)
    return Outcome(
        done=f"{counted(done, 'record')} redriven",
        refused=[
            (letter_row(one.letter), one.refused) for one in results if one.refused is not None
        ],
    )
