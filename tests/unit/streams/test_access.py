"""The rights that follow from the topic registry, without any broker."""

from __future__ import annotations

import itertools

import pytest

from streams.access import PEOPLE_WORDS, Operation, Principal, Resource, executor, principals
from streams.topics import (
    CONTROL,
    DEAD_LETTERS,
    DOMAINS,
    EVENTS,
    HOOKS,
    LOCKS_STATE,
    OUTPUT,
    PROCEDURES,
    PROGRESS,
    REQUESTS,
    SCHEDULE_COMMANDS,
    SCHEDULES_STATE,
    STEPS,
    TRIGGER_COMMANDS,
    TRIGGERS_STATE,
    all_topics,
)
from tests import acl_table

ALL = [topic.name for topic in all_topics()]


def named(name: str) -> Principal:
    [found] = [one for one in principals("", test_tools=True) if one.name == name]
    return found


def reads(user: Principal) -> set[str]:
    return {topic for topic in ALL if user.may(Operation.READ, topic)}


def writes(user: Principal) -> set[str]:
    return {topic for topic in ALL if user.may(Operation.WRITE, topic)}


def test_every_writer_and_reader_of_the_registry_is_a_user() -> None:
    words = {word for topic in all_topics() for word in (*topic.writers, *topic.readers)}
    assert words - PEOPLE_WORDS == {*("router", "executor", "sink", "projector", "matcher", "api")}
    for topic in all_topics():
        for operation, wanted in (
            (Operation.READ, topic.readers),
            (Operation.WRITE, topic.writers),
        ):
            users = principals("", test_tools=True)
            allowed = {one.name for one in users if one.may(operation, topic.name)} - {"admin"}
            found = {name.partition("-")[0] for name in allowed}
            assert found == {"people" if word in PEOPLE_WORDS else word for word in wanted}


@pytest.mark.parametrize("topic", ALL)
def test_the_declared_rights_are_those_of_the_table(topic: str) -> None:
    users = [one for one in principals("", test_tools=True) if one.name != "admin"]
    writers = {one.name for one in users if one.may(Operation.WRITE, topic)}
    readers = {one.name for one in users if one.may(Operation.READ, topic)}
    assert (writers, readers) == (acl_table.WRITERS[topic], acl_table.READERS[topic])


def test_the_table_names_every_topic_and_nothing_else() -> None:
    assert set(acl_table.WRITERS) == set(acl_table.READERS) == set(ALL)


def test_nobody_but_the_administrator_may_do_more_than_read_and_write() -> None:
    for user in principals("", test_tools=True):
        for grant in user.grants:
            more = Operation.ALL in grant.operations
            assert more == (user.name == "admin" and grant.resource is Resource.TOPIC)
            if grant.resource is Resource.TOPIC:
                # A prefix would give topics that are made later.
                assert not grant.prefixed and grant.name in ALL


def test_people_ask_and_look_and_nothing_else() -> None:
    people = named("people")
    commands = {SCHEDULE_COMMANDS.name, TRIGGER_COMMANDS.name}
    assert writes(people) == {REQUESTS.name, CONTROL.name, PROCEDURES.name} | commands
    letters = {topic.name for topic in DEAD_LETTERS.values()}
    seen = {EVENTS.name, OUTPUT.name, PROGRESS.name, LOCKS_STATE.name, PROCEDURES.name}
    states = {SCHEDULES_STATE.name, TRIGGERS_STATE.name}
    assert reads(people) == seen | letters | states


def test_only_the_router_writes_steps() -> None:
    for (_, _), topic in STEPS.items():
        writers = {one.name for one in principals("", test_tools=True) if topic.name in writes(one)}
        assert writers == {"router", "admin"}


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_executor_reads_the_steps_of_its_domain_alone(domain: str) -> None:
    steps = {topic.name for (of, _), topic in STEPS.items() if of == domain}
    user = named(f"executor-{domain}")
    assert reads(user) & {topic.name for topic in STEPS.values()} == steps
    assert writes(user) & {topic.name for topic in STEPS.values()} == set()
    letters = {f"{name}.dlq" for name in steps}
    assert writes(user) == {"steps.reports", OUTPUT.name, *letters}


def test_an_executor_of_several_domains_has_the_rights_of_each() -> None:
    both = executor("both", ["automation", "asset"], "")
    assert reads(both) == reads(named("executor-automation")) | reads(named("executor-asset"))
    assert writes(both) == writes(named("executor-automation")) | writes(named("executor-asset"))


def test_no_process_may_use_the_group_or_the_transactions_of_another() -> None:
    kinds = (Resource.GROUP, Resource.TRANSACTIONAL_ID)
    for one, other in itertools.permutations(principals(""), 2):
        if "admin" in (one.name, other.name):
            continue
        for grant in one.grants:
            if grant.resource not in kinds or grant.operations == (Operation.DESCRIBE,):
                continue
            for theirs in other.grants:
                if theirs.resource is not grant.resource:
                    continue
                if theirs.operations == (Operation.DESCRIBE,):
                    # They read without being a member: nobody can join or commit there.
                    assert not (grant.prefixed and theirs.name.startswith(grant.name))
                    continue
                assert not theirs.name.startswith(grant.name) or not grant.prefixed
                assert theirs.name != grant.name


def test_the_prefix_of_the_topics_is_in_every_name() -> None:
    for user in principals("blue."):
        assert user.name.startswith("blue.")
        assert all(grant.name.startswith("blue.") for grant in user.grants)


def test_the_test_domain_has_a_user_on_purpose_only() -> None:
    assert "executor-test" not in {one.name for one in principals("")}


def test_the_matcher_reads_what_it_is_given_and_writes_matches_alone() -> None:
    matcher = named("matcher")
    assert writes(matcher) == {TRIGGER_COMMANDS.name}
    assert reads(matcher) == {TRIGGERS_STATE.name, HOOKS.name}


def test_the_api_asks_as_people_do_and_says_what_webhooks_brought_and_decides_nothing() -> None:
    api = named("api")
    commands = {SCHEDULE_COMMANDS.name, TRIGGER_COMMANDS.name}
    assert writes(api) == {REQUESTS.name, CONTROL.name, HOOKS.name} | commands
    assert reads(api) == reads(named("people"))


def test_the_router_may_send_on_whatever_others_may_send_it() -> None:
    # A client with another partitioner puts a record where its key does not belong.
    sources = [one for one in all_topics() if "router" in one.readers and one.cleanup == "delete"]
    others = [one for one in sources if set(one.writers) & PEOPLE_WORDS]
    assert {one.name for one in others} == {
        *(REQUESTS.name, CONTROL.name, SCHEDULE_COMMANDS.name, TRIGGER_COMMANDS.name)
    }
    assert [one.name for one in others if one.name not in writes(named("router"))] == []
