"""The AsyncAPI 3.0 document of every topic, with Kafka bindings, built from the registry.

Source: AsyncAPI 3.0.0; its Kafka bindings, version 0.5.0.
"""

from __future__ import annotations

from typing import Any, Final

from streams.schemas import FILES
from streams.topics import Topic, all_topics
from streams.topology import APPS

Document = dict[str, Any]

_BINDING: Final = "0.5.0"

#: The envelope: CloudEvents 1.0 in binary mode.
_HEADERS: Final[Document] = {
    "type": "object",
    "description": (
        "CloudEvents 1.0 attributes; a producer of requests or commands may leave all of them out"
    ),
    "properties": {
        "ce_id": {"type": "string", "description": "unique per source"},
        "ce_type": {"type": "string", "examples": ["runstream.step.succeeded.v1"]},
        "ce_source": {"type": "string"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "the execution id"},
        "content-type": {"type": "string", "const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context"},
    },
}


def document(version: str) -> Document:
    """The whole document; `version` is that of this software."""
    topics = all_topics()
    by_name = {topic.name: topic for topic in topics}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Runstream",
            "version": version,
            "description": "Operations plans in, numbered events out: plain JSON on Kafka topics.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": _operations(by_name),
        "components": {"messages": _messages(topics)},
    }


def _channel(topic: Topic) -> Document:
    message = message_name(topic)
    config: Document = dict(topic.config())
    config["cleanup.policy"] = topic.cleanup.split(",")
    for name in ("retention.ms", "max.message.bytes"):
        if name in config:
            config[name] = int(config[name])
    return {
        "address": topic.name,
        "description": (
            f"{topic.carries}. Key: {topic.key}. "
            f"Written by {', '.join(topic.writers)}; read by {', '.join(topic.readers)}."
        ),
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": config,
                "bindingVersion": _BINDING,
            }
        },
    }


def message_name(topic: Topic) -> str:
    """The message on a topic, as a name: `Event`, `DeadLetter`, `RouterChangelog`."""
    if topic.carries in FILES:
        return topic.carries
    if topic.name.endswith(".dlq"):
        return "DeadLetter"
    return "".join(word.capitalize() for word in topic.carries.split())


def _messages(topics: tuple[Topic, ...]) -> Document:
    first: dict[str, Topic] = {}
    for topic in topics:
        first.setdefault(message_name(topic), topic)
    return {name: _message(name, topic) for name, topic in sorted(first.items())}


def _message(name: str, topic: Topic) -> Document:
    key = {"type": "string", "description": topic.key}
    message: Document = {
        "name": name,
        "title": name,
        "contentType": "application/json",
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}},
    }
    if name in FILES:
        message["headers"] = _HEADERS
        message["payload"] = {"$ref": f"./schemas/{FILES[name]}.schema.json"}
    elif name == "DeadLetter":
        message["summary"] = "The original bytes, untouched; headers say what was wrong."
        message["contentType"] = "application/octet-stream"
    else:
        message["summary"] = "Internal: readable, and no contract."
    return message


def _operations(topics: dict[str, Topic]) -> Document:
    """What each application does, as the topology declares it."""
    operations: Document = {}
    for app in APPS:
        for action, some in (("receive", app.reads), ("send", app.writes)):
            for topic in some:
                if topic.name in topics:
                    operations[f"{app.name}.{action}.{topic.name}"] = {
                        "action": action,
                        "channel": {"$ref": f"#/channels/{topic.name}"},
                        "summary": f"{app.name} {app.job}",
                    }
    return operations
