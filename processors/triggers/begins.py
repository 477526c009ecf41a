"""From which offsets a trigger counts: the first records that are not older than a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from processors.triggers.matching import Watched

#: A topic and the number of a partition of it.
Place = tuple[str, int]
_CALL_SECONDS: Final = 10.0


class Begins:
    """Asks the broker once for each partition and moment; every call may raise KafkaException."""

    def __init__(self, consumer: Any, places: Iterable[Place]) -> None:
        """Nothing is asked yet; the moments of a topic are asked for all of its `places`."""
        self._consumer = consumer
        self._places = list(places)
        self._marks: dict[Place, tuple[int, int]] = {}
        self._found: dict[tuple[str, float], dict[Place, int]] = {}

    def since(self, watched: Watched, place: Place) -> int:
        """The first record that counts for the trigger."""
        return self._offset(place, watched.since)

    def again(self, watched: Watched, place: Place) -> int:
        """The first record that it looks at after it has changed."""
        since = self.since(watched, place)
        return since if watched.again is None else max(since, self._offset(place, watched.again))

    def end(self, place: Place) -> int:
        """The next record that will be written."""
        return self._mark(place)[1]

    def _offset(self, place: Place, moment: float | None) -> int:
        if moment is None:
            return self._mark(place)[0]
        topic = place[0]
        if (topic, moment) not in self._found:
            self._found[topic, moment] = self._ask(topic, moment)
        return self._found[topic, moment][place]

    def _ask(self, topic: str, moment: float) -> dict[Place, int]:
        places = [place for place in self._places if place[0] == topic]
        # Before the question: what comes between the two is not older than the moment.
        ends = {place: self._mark(place)[1] for place in places}
        asked = [TopicPartition(*place, int(moment * 1_000)) for place in places]
        found: dict[Place, int] = {}
        for one in self._consumer.offsets_for_times(asked, timeout=_CALL_SECONDS):
            if one.error is not None:
                raise KafkaException(one.error)
            place = (one.topic, one.partition)
            found[place] = one.offset if one.offset >= 0 else ends[place]
        return found

    def _mark(self, place: Place) -> tuple[int, int]:
        if place not in self._marks:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(*place), timeout=_CALL_SECONDS
            )
            self._marks[place] = int(low), int(high)
        return self._marks[place]
