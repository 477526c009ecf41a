"""The rules that every topic of the registry keeps, and that the topology keeps with it."""

from __future__ import annotations

import re

import pytest

from streams import topics
from streams.asyncapi import message_name
from streams.schemas import FILES
from streams.topics import DEAD_LETTERS, ROUTER_PARTITIONS, TOPICS, Topic, all_topics
from streams.topology import APPS, ROUTER, to_mermaid

#: Whoever a topic may name as its writer or reader.
PARTIES = {app.name for app in APPS} | {"producers", "operators", "cli", "consumers"}
PROCESSES = {app.name: app for app in APPS}


@pytest.mark.parametrize("topic", all_topics(), ids=lambda topic: topic.name)
class TestTopic:
    def test_name_has_dots_and_no_underscores(self, topic: Topic) -> None:
        assert re.fullmatch(r"[a-z]+(\.[a-z]+)+", topic.name)

    def test_somebody_writes_it_and_somebody_reads_it(self, topic: Topic) -> None:
        assert topic.writers
        assert topic.readers
        assert set(topic.writers) | set(topic.readers) <= PARTIES

    def test_the_brokers_clock_decides_about_retention(self, topic: Topic) -> None:
        assert topic.config()["message.timestamp.type"] == "LogAppendTime"

    def test_it_is_kept_for_a_stated_time_or_compacted(self, topic: Topic) -> None:
        assert ("delete" in topic.cleanup) == (topic.retention_days is not None)
        assert set(topic.cleanup.split(",")) <= {"compact", "delete"}

    def test_its_message_is_described(self, topic: Topic) -> None:
        internal = {"RouterChangelog", "LockChangelog", "ScheduleChangelog", "TriggerChangelog"}
        internal |= {"DeadLetter"}
        assert message_name(topic) in set(FILES) | internal


def test_names_are_unique() -> None:
    names = [topic.name for topic in all_topics()]
    assert len(names) == len(set(names))


def test_events_have_one_writer() -> None:
    assert topics.EVENTS.writers == ("router",)


def test_topics_that_meet_in_the_router_have_equal_partitions() -> None:
    # Every router reads all procedures.
    met = set(ROUTER.reads) - {topics.PROCEDURES}
    assert {topic.partitions for topic in met} == {ROUTER_PARTITIONS}
    assert topics.PROCEDURES.partitions == 1
    assert topics.EVENTS.partitions == ROUTER_PARTITIONS


def test_a_dead_letter_topic_keeps_the_partition_and_the_size() -> None:
    for name, letters in DEAD_LETTERS.items():
        assert letters.name == f"{name}.dlq"
        assert letters.partitions == TOPICS[name].partitions
        assert letters.max_message_bytes > TOPICS[name].max_message_bytes
        assert letters.retention_days == 30


def test_what_others_may_write_or_that_carries_work_has_dead_letters() -> None:
    """Only what an application writes for itself does without them.

    And procedures: one that cannot be used stays where it lies, and whoever asks for it is told.
    """
    without = {topic.name for topic in TOPICS.values() if not topic.dead_letters}
    own = {"execution.progress", "router.state", "executors.control", "locks.state"}
    own |= {"schedules.state", "triggers.state", "hooks.received"}
    assert without == own | {"execution.procedures"}
    for name in own:
        (writer,) = TOPICS[name].writers
        assert writer in PROCESSES


def test_the_registry_and_the_topology_agree() -> None:
    for topic in TOPICS.values():
        readers = {name for name, app in PROCESSES.items() if topic in app.reads}
        writers = {name for name, app in PROCESSES.items() if topic in app.writes}
        assert readers == set(topic.readers) & set(PROCESSES), topic.name
        assert writers == set(topic.writers) & set(PROCESSES), topic.name


def test_the_picture_shows_every_process_and_topic() -> None:
    picture = to_mermaid()
    for app in APPS:
        assert f"{app.name}((" in picture
    for topic in TOPICS.values():
        shown = "steps.<domain>" if topic in topics.STEPS.values() else topic.name
        assert f'"{shown}"' in picture
