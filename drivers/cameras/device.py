"""The device itself: what it is, its network, its ports and its lights.

Sources: VAPIX, "Basic device information", "API Discovery service", "Parameter management",
"Network settings API" (JSON and Device Configuration), "Input and outputs", "Light control".
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from drivers.cameras import responses
from drivers.cameras.client import Camera

_BASIC: Final = "/axis-cgi/basicdeviceinfo.cgi"
_PORTS: Final = "/axis-cgi/io/port.cgi"
_LIGHT: Final = "/axis-cgi/lightcontrol.cgi"
_NETWORK: Final = "/axis-cgi/network_settings.cgi"
_SWITCH: Final = "network-settings/v2/switch"
_GROUPS: Final = {
    "check_firmware": "Properties.Firmware",
    "check_model": "Properties.System",
    "list_capabilities": "Properties",
}
_CHECKS: Final = {"active": "checkactive", "closed": "check", "direction": "checkdirection"}


async def info(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """The facts that the device reports."""
    operation = given["operation"]
    if operation == "get_all_info":
        data = await camera.json(_BASIC, "getAllProperties")
        return {"properties": data.get("propertyList", {})}
    if operation == "get_properties":
        wanted = {"propertyList": given["properties"]}
        data = await camera.json(_BASIC, "getProperties", wanted)
        return {"properties": data.get("propertyList", {})}
    if operation == "list_apis":
        data = await camera.json("/axis-cgi/apidiscovery.cgi", "getApiList")
        found = data.get("apiList", [])
        return {"apis": found, "count": len(found)}
    return {"properties": await camera.parameters(_GROUPS.get(operation) or given["group"])}


async def ports(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Inputs, outputs and virtual inputs; ports count from one."""
    operation = given["operation"]
    if operation == "list":
        return await _all_ports(camera)
    port = int(given["port_number"])
    if operation == "read":
        return {"ports": [await _read(camera, port)], "count": 1}
    if operation in ("virtual_activate", "virtual_deactivate"):
        verb = operation.removeprefix("virtual_")
        query = {"schemaversion": 1, "port": port}
        if verb == "activate" and given.get("duration") is not None:
            query["duration"] = round(given["duration"])
        root = await camera.xml(f"/axis-cgi/virtualinput/{verb}.cgi", query)
        return {"port": port, "changed": responses.text_of(root, "StateChanged") == "true"}
    action = {"activate": f"{port}:/", "deactivate": f"{port}:\\"}.get(operation)
    if action is None:
        action = f"{port}:/{given['pulse_ms']}\\"
    await camera.text(_PORTS, {"action": action})
    return {"port": port, "action": operation}


async def _read(camera: Camera, port: int) -> dict[str, Any]:
    state: dict[str, Any] = {"port": port}
    for name, question in _CHECKS.items():
        text = await camera.text(_PORTS, {question: port})
        value = responses.pairs(text).get(f"port{port}")
        if value is None:
            raise camera.failed("not_found", f"{camera.subject} has no port {port}")
        state[name] = value if name == "direction" else value in ("1", "active")
    return state


async def _all_ports(camera: Camera) -> dict[str, Any]:
    found = await camera.parameters("IOPort")
    by_port: dict[int, dict[str, Any]] = {}
    for name, value in found.items():
        group, _, key = name.removeprefix("IOPort.I").partition(".")
        if group.isdigit():
            by_port.setdefault(int(group) + 1, {})[key] = value
    listed = [
        {
            "port": port,
            "direction": keys.get("Direction"),
            "configurable": keys.get("Configurable") == "yes",
            "name": keys.get(f"{(keys.get('Direction') or 'input').capitalize()}.Name"),
            "parameters": keys,
        }
        for port, keys in sorted(by_port.items())
    ]
    return {"ports": listed, "count": len(listed)}


async def lights(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Infrared and white light."""
    operation = given["operation"]
    if operation == "list":
        data = await camera.json(_LIGHT, "getLightInformation")
        found = data.get("items", [])
        return {"lights": found, "count": len(found)}
    light = {"lightID": given["light_id"]}
    match operation:
        case "status":
            status = await camera.json(_LIGHT, "getLightStatus", light)
            current = await camera.json(_LIGHT, "getCurrentIntensity", light)
            return {"on": status.get("status"), "intensity": current.get("intensity")}
        case "valid_intensity":
            data = await camera.json(_LIGHT, "getValidIntensity", light)
            return {"ranges": data.get("ranges", [])}
        case "set_intensity":
            params = {**light, "intensity": given["intensity"]}
            await camera.json(_LIGHT, "setManualIntensity", params)
            return {"light": given["light_id"], "intensity": given["intensity"]}
        case "set_automatic_intensity":
            params = {**light, "enabled": given["enabled"]}
            await camera.json(_LIGHT, "setAutomaticIntensityMode", params)
            return {"light": given["light_id"], "automatic": given["enabled"]}
    methods = {"activate": "activateLight", "deactivate": "deactivateLight",
               "enable": "enableLight", "disable": "disableLight"}  # fmt: skip
    await camera.json(_LIGHT, methods[operation], light)
    return {"light": given["light_id"], "action": operation}


async def network(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Addresses, names, resolver, and the ports of a built-in switch."""
    match given["operation"]:
        case "get":
            return {"network": await camera.json(_NETWORK, "getNetworkInfo")}
        case "set_hostname":
            params = {"useDhcpHostname": False, "staticHostname": given["hostname"]}
            await camera.json(_NETWORK, "setHostnameConfiguration", params)
            return {"changed": params}
        case "set_ipv4":
            params = _address(camera, given)
            await camera.json(_NETWORK, "setIPv4AddressConfiguration", params)
            return {"changed": params}
        case "set_resolver":
            params = {"useDhcpResolverInfo": False, "staticNameServers": given["name_servers"]}
            if given.get("search_domains"):
                params["staticSearchDomains"] = given["search_domains"]
            await camera.json(_NETWORK, "setResolverConfiguration", params)
            return {"changed": params}
        case "check_switch_support":
            data = await camera.rest("GET", "network-settings/v2/switch_supported")
            return {"supported": data is True}
        case "get_switch_config":
            return {"switch": await camera.rest("GET", _SWITCH)}
    port = f"{_SWITCH}/port/{quote(str(given['port_id']), safe='')}"
    match given["operation"]:
        case "get_port_config":
            return {"port": await camera.rest("GET", port)}
        case "set_port_enabled":
            await camera.rest("PATCH", f"{port}/enabled", given["enabled"])
            return {"changed": {"enabled": given["enabled"]}}
    security = {
        "authServerEnabled": given["auth_server_enabled"],
        "authServerEnforced": given["auth_server_enforced"],
    }
    await camera.rest("PATCH", f"{port}/security", security)
    return {"changed": security}


def _address(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    device = {"deviceName": given["device_name"]}
    if given["mode"] == "dhcp":
        return {**device, "configurationMode": "dhcp"}
    if given.get("address") is None or given.get("prefix_length") is None:
        message = "a static configuration needs address and prefix_length"
        raise camera.failed("invalid_parameters", message)
    static = {"address": given["address"], "prefixLength": given["prefix_length"]}
    params: dict[str, Any] = {
        **device, "configurationMode": "static", "staticAddressConfigurations": [static],
    }  # fmt: skip
    if given.get("gateway") is not None:
        params["staticDefaultRouter"] = given["gateway"]
    return params
