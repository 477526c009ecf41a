"""A label has no more values than its limit, whatever is named."""

from __future__ import annotations

from runtime.metric_labels import OTHER, BoundedLabel


def test_the_first_names_stay_and_every_further_one_is_other() -> None:
    label = BoundedLabel(2)
    assert [label(name) for name in ("df", "ls", "a", "b", "df", "ls")] == [
        *("df", "ls"), OTHER, OTHER, *("df", "ls"),
    ]  # fmt: skip
