"""Action rules of the camera: which event starts which action.

Source: VAPIX, "Event and action services" (SOAP, namespaces `event1` and `action1`).
"""

from __future__ import annotations

from typing import Any, Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from drivers.cameras import responses
from drivers.cameras.client import Camera

_ACTION: Final = 'xmlns="http://www.axis.com/vapix/ws/action1"'
_TOPIC: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"
_CONTENT: Final = "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter"


async def services(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """List, add and remove rules and the actions that they start."""
    match given["operation"]:
        case "get_all_rules":
            root = await camera.soap(f"<GetActionRules {_ACTION}/>")
            found = [_rule(element) for element in responses.every(root, "ActionRule")]
            return {"rules": found, "count": len(found)}
        case "get_actions":
            root = await camera.soap(f"<GetActionConfigurations {_ACTION}/>")
            found = [_action(element) for element in responses.every(root, "ActionConfiguration")]
            return {"actions": found, "count": len(found)}
        case "get_templates":
            root = await camera.soap(f"<GetActionTemplates {_ACTION}/>")
            tokens = [element.text for element in responses.every(root, "TemplateToken")]
            return {"templates": tokens, "count": len(tokens)}
        case "add_action":
            return {"action_id": await _add_action(camera, given)}
        case "remove_action":
            return await _remove(camera, "ActionConfiguration", "ConfigurationID", given)
        case "remove_rule":
            return await _remove(camera, "ActionRule", "RuleID", given)
    root = await camera.soap(_new_rule(given))
    return {"rule_id": _ident(camera, root, "RuleID")}


async def topics(camera: Camera) -> list[dict[str, Any]]:
    """The events that this camera can send."""
    body = '<GetEventInstances xmlns="http://www.axis.com/vapix/ws/event1"/>'
    return responses.topics(await camera.soap(body))


async def _add_action(camera: Camera, given: dict[str, Any]) -> int:
    words = "".join(
        f"<Parameter Name={quoteattr(name)} Value={quoteattr(str(value))}/>"
        for name, value in (given.get("action_config") or {}).items()
    )
    body = (
        f"<AddActionConfiguration {_ACTION}><NewActionConfiguration>"
        f"<Name>{escape(given['rule_name'])}</Name>"
        f"<TemplateToken>{escape(given['action_type'])}</TemplateToken>"
        f"<Parameters>{words}</Parameters>"
        "</NewActionConfiguration></AddActionConfiguration>"
    )
    return _ident(camera, await camera.soap(body), "ConfigurationID")


async def _remove(camera: Camera, what: str, key: str, given: dict[str, Any]) -> dict[str, Any]:
    ident = int(given["id"])
    await camera.soap(f"<Remove{what} {_ACTION}><{key}>{ident}</{key}></Remove{what}>")
    return {"removed": ident}


def _new_rule(given: dict[str, Any]) -> str:
    content = given.get("content_filter")
    start = (
        f'<wsnt:TopicExpression Dialect="{_TOPIC}">{escape(given["topic"])}</wsnt:TopicExpression>'
    )
    if content:
        start += (
            f'<wsnt:MessageContent Dialect="{_CONTENT}">{escape(content)}</wsnt:MessageContent>'
        )
    return (
        f"<AddActionRule {_ACTION}><NewActionRule>"
        f"<Name>{escape(given['rule_name'])}</Name>"
        f"<Enabled>{'true' if given['enabled'] else 'false'}</Enabled>"
        f"<StartEvent>{start}</StartEvent>"
        f"<PrimaryAction>{int(given['action_id'])}</PrimaryAction>"
        "</NewActionRule></AddActionRule>"
    )


def _rule(element: Element) -> dict[str, Any]:
    return {
        "id": responses.number(responses.text_of(element, "RuleID")),
        "name": responses.text_of(element, "Name"),
        "enabled": responses.text_of(element, "Enabled") == "true",
        "topic": responses.text_of(element, "TopicExpression"),
        "content_filter": responses.text_of(element, "MessageContent"),
        "action_id": responses.number(responses.text_of(element, "PrimaryAction")),
    }


def _action(element: Element) -> dict[str, Any]:
    return {
        "id": responses.number(responses.text_of(element, "ConfigurationID")),
        "name": responses.text_of(element, "Name"),
        "template": responses.text_of(element, "TemplateToken"),
        "parameters": responses.parameters(element),
    }


def _ident(camera: Camera, root: Element, name: str) -> int:
    ident = responses.number(responses.text_of(root, name))
    if not isinstance(ident, int):
        raise camera.unreadable(f"it has no {name}")
    return ident
