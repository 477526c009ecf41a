"""The JSON, REST and SOAP services of the simulated camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import orjson

if TYPE_CHECKING:
    from tests.fakes.camera_apis import Reply
    from tests.fakes.camera_state import State

_ACTION = "{http://www.axis.com/vapix/ws/action1}"
_EVENT = "{http://www.axis.com/vapix/ws/event1}"
_NOTIFY = "{http://docs.oasis-open.org/wsn/b-2}"
_SOAP = "{http://www.w3.org/2003/05/soap-envelope}"


class Wrong(Exception):
    """An error of a JSON API: code and message."""


def _device(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    known = {"ProdNbr": "M3215-LVE", "ProdType": "Dome Camera", "Brand": "AXIS",
             "Version": "11.11.73", "SerialNumber": "ACCC8E000001"}  # fmt: skip
    if method == "getAllProperties":
        return {"propertyList": known}
    if method == "getProperties":
        unknown = set(params["propertyList"]) - set(known)
        if unknown:
            raise Wrong(1000, "Invalid parameter value specified")
        return {"propertyList": {name: known[name] for name in params["propertyList"]}}
    raise Wrong(2002, "Method not supported")


def _discovery(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method != "getApiList":
        raise Wrong(2002, "Method not supported")
    names = ("api-discovery", "basic-device-info", "light-control", "stream-profiles")
    return {"apiList": [{"id": name, "version": "1.0", "status": "released"} for name in names]}


def _profiles(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    profiles = state.profiles
    match method:
        case "list":
            names = [one["name"] for one in params["streamProfileName"]]
            found = [one for one in profiles.values() if not names or one["name"] in names]
            return {"maxProfiles": 26, "streamProfile": found}
        case "create":
            for one in params["streamProfile"]:
                if one["name"] in profiles:
                    raise Wrong(2004, "A stream profile with that name exists")
                profiles[one["name"]] = one
            return {}
        case "update":
            for one in params["streamProfile"]:
                if one["name"] not in profiles:
                    raise Wrong(2004, "No such stream profile")
                profiles[one["name"]] = one
            return {}
        case "remove":
            for one in params["streamProfileName"]:
                if profiles.pop(one["name"], None) is None:
                    raise Wrong(2004, "No such stream profile")
            return {}
    raise Wrong(2002, "Method not supported")


def _light(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    light = state.light
    if method == "getLightInformation":
        return {"items": [light]}
    if params.get("lightID") != light["lightID"]:
        raise Wrong(1005, "No light hardware found, could not complete request.")
    match method:
        case "getLightStatus":
            return {"status": light["lightState"]}
        case "getCurrentIntensity":
            return {"intensity": light["intensity"]}
        case "getValidIntensity":
            return {"ranges": [{"low": 0, "high": 100}]}
        case "activateLight" | "deactivateLight":
            light["lightState"] = method == "activateLight"
        case "enableLight" | "disableLight":
            light["enabled"] = method == "enableLight"
        case "setManualIntensity":
            if not 0 <= params["intensity"] <= 100:
                raise Wrong(1003, "Invalid value for parameter")
            light.update(intensity=params["intensity"], automaticIntensityMode=False)
        case "setAutomaticIntensityMode":
            light["automaticIntensityMode"] = params["enabled"]
        case _:
            raise Wrong(1002, "Method not supported")
    return {}


def _overlay(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    overlays = state.overlays
    match method:
        case "list":
            texts = [one for one in overlays.values() if "text" in one]
            images = [one for one in overlays.values() if "overlayPath" in one]
            return {"textOverlays": texts, "imageOverlays": images,
                    "imageFiles": ["/etc/overlays/logo.ovl"]}  # fmt: skip
        case "addText" | "addImage":
            needed = "text" if method == "addText" else "overlayPath"
            if needed not in params or "camera" not in params:
                raise Wrong(302, "Missing parameter")
            identity = len(overlays) + 1
            overlays[identity] = {**params, "identity": identity}
            return {"camera": params["camera"], "identity": identity}
        case "setText" | "setImage" | "remove":
            if params["identity"] not in overlays:
                raise Wrong(301, "Invalid overlay identity")
            if method == "remove":
                del overlays[params["identity"]]
            else:
                overlays[params["identity"]] |= params
            return {}
    raise Wrong(200, "Unknown method")


def _network(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "getNetworkInfo":
            return {
                "system": {"hostname": {"hostname": state.hostname}, "resolver": state.resolver},
                "devices": [{"name": "eth0", "IPv4": state.address}],
            }
        case "setHostnameConfiguration":
            state.hostname = params["staticHostname"]
        case "setIPv4AddressConfiguration":
            if params["deviceName"] != "eth0":
                raise Wrong(4004, "Invalid parameter(s)")
            state.address = params
        case "setResolverConfiguration":
            state.resolver = params
        case _:
            raise Wrong(4002, "Method not supported")
    return {}


JSON_APIS: dict[str, Callable[[State, str, dict[str, Any]], dict[str, Any]]] = {
    "/axis-cgi/basicdeviceinfo.cgi": _device,
    "/axis-cgi/apidiscovery.cgi": _discovery,
    "/axis-cgi/streamprofile.cgi": _profiles,
    "/axis-cgi/lightcontrol.cgi": _light,
    "/axis-cgi/dynamicoverlay/dynamicoverlay.cgi": _overlay,
    "/axis-cgi/network_settings.cgi": _network,
}


def _json(document: Any, status: int = 200) -> Reply:
    from tests.fakes.camera_apis import Reply

    return Reply(status, "application/json", orjson.dumps(document))


def json_api(state: State, path: str, call: dict[str, Any]) -> Reply:
    """One call; errors come with status 200 and an `error`, as these APIs do it."""
    head = {
        "apiVersion": call["apiVersion"],
        "context": call.get("context"),
        "method": call["method"],
    }
    try:
        data = JSON_APIS[path](state, call["method"], call.get("params") or {})
    except Wrong as wrong:
        code, message = wrong.args
        return _json({**head, "error": {"code": code, "message": message}})
    except KeyError as missing:
        return _json({**head, "error": {"code": 1000, "message": f"Missing {missing}"}})
    return _json({**head, "data": data})


def rest(state: State, method: str, path: str, body: bytes) -> Reply:
    """The Device Configuration framework: GET, and PATCH of one property or entity."""
    words = path.removeprefix("/config/rest/network-settings/v2/").split("/")
    error = {"status": "error", "error": {"code": 101, "message": "The path does not exist"}}
    data: Any = None
    match words:
        case ["switch_supported"] if method == "GET":
            return _json({"status": "success", "data": True})
        case ["switch"] if method == "GET":
            return _json({"status": "success", "data": {"port": list(state.switch.values())}})
        case ["switch", "port", number] if method == "GET" and number in state.switch:
            return _json({"status": "success", "data": state.switch[number]})
        case ["switch", "port", number, "enabled" | "security" as name] if (
            method == "PATCH" and number in state.switch
        ):
            data = orjson.loads(body)["data"]
            before = state.switch[number][name]
            state.switch[number][name] = before | data if isinstance(before, dict) else data
            return _json({"status": "success"})
    return _json(error)


def soap(state: State, kind: str, body: bytes) -> Reply:
    """The event and action services."""
    from tests.fakes.camera_apis import Reply, text

    if not kind.startswith("application/soap+xml"):
        return text("SOAP 1.2 is needed", 415)
    root = ElementTree.fromstring(body)
    inside = root.find(f"{_SOAP}Body")
    if inside is None or len(inside) != 1:
        return text("no SOAP body", 400)
    call = inside[0]
    known = _SERVICES.get(call.tag)
    if known is None:
        fault = (
            "<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason>"
            '<s:Text xml:lang="en">Method not implemented</s:Text></s:Reason></s:Fault>'
        )
        return Reply(400, "application/soap+xml", _envelope(fault))
    try:
        return Reply(200, "application/soap+xml", _envelope(known(state, call)))
    except Wrong as wrong:
        fault = (
            "<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason>"
            f'<s:Text xml:lang="en">{escape(wrong.args[0])}</s:Text></s:Reason></s:Fault>'
        )
        return Reply(400, "application/soap+xml", _envelope(fault))


def _envelope(inside: str) -> bytes:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:aa="http://www.axis.com/vapix/ws/action1" '
        'xmlns:aev="http://www.axis.com/vapix/ws/event1" '
        'xmlns:wstop="http://docs.oasis-open.org/wsn/t-1" '
        'xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" '
        'xmlns:tns1="http://www.onvif.org/ver10/topics" '
        'xmlns:tnsaxis="http://www.axis.com/2009/event/topics">'
        f"<s:Body>{inside}</s:Body></s:Envelope>"
    ).encode()


def _text(element: Element, path: str) -> str:
    found = element.find(path)
    if found is None:
        raise Wrong(f"Missing {path.rpartition('}')[2]}")
    return found.text or ""


def _get_rules(state: State, call: Element) -> str:
    rules = "".join(
        f"<aa:ActionRule><aa:RuleID>{ident}</aa:RuleID><aa:Name>{escape(rule['name'])}</aa:Name>"
        f"<aa:Enabled>{rule['enabled']}</aa:Enabled><aa:StartEvent><wsnt:TopicExpression>"
        f"{rule['topic']}</wsnt:TopicExpression><wsnt:MessageContent>{escape(rule['content'])}"
        f"</wsnt:MessageContent></aa:StartEvent><aa:PrimaryAction>{rule['action']}"
        "</aa:PrimaryAction></aa:ActionRule>"
        for ident, rule in state.rules.items()
    )
    return (
        f"<aa:GetActionRulesResponse><aa:ActionRules>{rules}</aa:ActionRules>"
        "</aa:GetActionRulesResponse>"
    )


def _get_actions(state: State, call: Element) -> str:
    actions = "".join(
        f"<aa:ActionConfiguration><aa:ConfigurationID>{ident}</aa:ConfigurationID>"
        f"<aa:Name>{escape(one['name'])}</aa:Name><aa:TemplateToken>{one['template']}"
        "</aa:TemplateToken><aa:Parameters>"
        + "".join(
            f"<aa:Parameter Name={quoteattr(name)} Value={quoteattr(value)}/>"
            for name, value in one["parameters"].items()
        )
        + "</aa:Parameters></aa:ActionConfiguration>"
        for ident, one in state.actions.items()
    )
    return (
        f"<aa:GetActionConfigurationsResponse><aa:ActionConfigurations>{actions}"
        "</aa:ActionConfigurations></aa:GetActionConfigurationsResponse>"
    )


def _get_templates(state: State, call: Element) -> str:
    return (
        "<aa:GetActionTemplatesResponse><aa:ActionTemplates><aa:ActionTemplate>"
        "<aa:TemplateToken>com.axis.action.fixed.notification.http</aa:TemplateToken>"
        "</aa:ActionTemplate></aa:ActionTemplates></aa:GetActionTemplatesResponse>"
    )


def _add_action(state: State, call: Element) -> str:
    new = call.find(f"{_ACTION}NewActionConfiguration")
    if new is None:
        raise Wrong("Missing NewActionConfiguration")
    ident = len(state.actions) + 1
    state.actions[ident] = {
        "name": _text(new, f"{_ACTION}Name"),
        "template": _text(new, f"{_ACTION}TemplateToken"),
        "parameters": {
            item.get("Name", ""): item.get("Value", "") for item in new.iter(f"{_ACTION}Parameter")
        },
    }
    return (
        f"<aa:AddActionConfigurationResponse><aa:ConfigurationID>{ident}</aa:ConfigurationID>"
        "</aa:AddActionConfigurationResponse>"
    )


def _add_rule(state: State, call: Element) -> str:
    new = call.find(f"{_ACTION}NewActionRule")
    if new is None:
        raise Wrong("Missing NewActionRule")
    action = int(_text(new, f"{_ACTION}PrimaryAction"))
    if action not in state.actions:
        raise Wrong("The primary action does not exist")
    content = new.find(f"{_ACTION}StartEvent/{_NOTIFY}MessageContent")
    ident = len(state.rules) + 1
    state.rules[ident] = {
        "name": _text(new, f"{_ACTION}Name"),
        "enabled": _text(new, f"{_ACTION}Enabled"),
        "topic": _text(new, f"{_ACTION}StartEvent/{_NOTIFY}TopicExpression"),
        "content": "" if content is None else content.text or "",
        "action": action,
    }
    return f"<aa:AddActionRuleResponse><aa:RuleID>{ident}</aa:RuleID></aa:AddActionRuleResponse>"


def _remove_rule(state: State, call: Element) -> str:
    if state.rules.pop(int(_text(call, f"{_ACTION}RuleID")), None) is None:
        raise Wrong("The rule does not exist")
    return "<aa:RemoveActionRuleResponse/>"


def _remove_action(state: State, call: Element) -> str:
    ident = int(_text(call, f"{_ACTION}ConfigurationID"))
    if any(rule["action"] == ident for rule in state.rules.values()):
        raise Wrong("The action configuration is in use")
    if state.actions.pop(ident, None) is None:
        raise Wrong("The action configuration does not exist")
    return "<aa:RemoveActionConfigurationResponse/>"


def _instances(state: State, call: Element) -> str:
    return (
        "<aev:GetEventInstancesResponse><wstop:TopicSet><tns1:Device><tnsaxis:IO>"
        '<Port wstop:topic="true" aev:NiceName="Digital port"><aev:MessageInstance>'
        '<aev:SourceInstance><aev:SimpleItemInstance Name="port" Type="xsd:int"/>'
        '</aev:SourceInstance><aev:DataInstance><aev:SimpleItemInstance Name="state" '
        'Type="xsd:boolean"/></aev:DataInstance></aev:MessageInstance></Port></tnsaxis:IO>'
        "</tns1:Device></wstop:TopicSet></aev:GetEventInstancesResponse>"
    )


_SERVICES: dict[str, Callable[[State, Element], str]] = {
    f"{_ACTION}GetActionRules": _get_rules,
    f"{_ACTION}GetActionConfigurations": _get_actions,
    f"{_ACTION}GetActionTemplates": _get_templates,
    f"{_ACTION}AddActionConfiguration": _add_action,
    f"{_ACTION}AddActionRule": _add_rule,
    f"{_ACTION}RemoveActionRule": _remove_rule,
    f"{_ACTION}RemoveActionConfiguration": _remove_action,
    f"{_EVENT}GetEventInstances": _instances,
}
