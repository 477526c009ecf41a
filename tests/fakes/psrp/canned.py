"""What the fake's commands answer: objects with the types and property names that Windows has.

A parameter that the real cmdlet does not have is refused as PowerShell refuses it. The names are
those of Microsoft's reference of Windows PowerShell 5.1; nothing here was recorded on a Windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes.psrp.clixml import Enumeration, Thing, Typed
from tests.fakes.psrp.remoting import Fault
from tests.fakes.psrp.shells import Reply

_WHEN = Typed("DT", "2026-01-31T08:00:01.1234567+00:00")
_SIZE = 136_365_211_648
_GUID = Typed("G", "7b3a1f60-0b3f-4c1e-8a9e-0d8a4a1f2c3d")


def _service(name: str = "W32Time", status: str = "Running", number: int = 4) -> Thing:
    kind = "System.ServiceProcess.ServiceController"
    return Thing(
        kind,
        {
            "Name": name,
            "DisplayName": "Windows Time",
            "Status": Enumeration(f"{kind}Status", status, number),
            "StartType": Enumeration("System.ServiceProcess.ServiceStartMode", "Automatic", 2),
            "CanStop": True,
        },
        shown=kind,
    )


def _process(ident: int = 4242, name: str = "w3wp") -> Thing:
    return Thing(
        "System.Diagnostics.Process",
        {
            "Id": ident,
            "ProcessName": name,
            "SessionId": 0,
            "CPU": 12.5,
            "WorkingSet64": Typed("I64", "52428800"),
            "HandleCount": 300,
            "StartTime": _WHEN,
            "Path": "C:\\Windows\\System32\\inetsrv\\w3wp.exe",
            "Responding": True,
        },
    )


def _ad(kind: str, **properties: Any) -> Thing:
    return Thing(f"Microsoft.ActiveDirectory.Management.{kind}", properties)


def _event() -> Thing:
    return Thing(
        "System.Diagnostics.Eventing.Reader.EventLogRecord",
        {
            "TimeCreated": _WHEN,
            "Id": 7034,
            "Level": Typed("By", "2"),
            "LevelDisplayName": "Error",
            "ProviderName": "Service Control Manager",
            "LogName": "System",
            "RecordId": Typed("I64", "123456"),
            "MachineName": "win-01",
            "UserId": None,
            "Message": "The Print Spooler service terminated unexpectedly.\r\nIt has done this.",
        },
    )


def _cim(kind: str, **properties: Any) -> Thing:
    return Thing(f"Microsoft.Management.Infrastructure.CimInstance#{kind}", properties)


def _ping(number: int) -> Thing:
    return Thing(
        "System.Management.ManagementObject#root\\cimv2\\Win32_PingStatus",
        {
            "Address": "web-01.example.org",
            "ProtocolAddress": "192.0.2.7",
            "ResponseTime": Typed("U32", str(number)),
            "StatusCode": Typed("U32", "0"),
            "ReplySize": Typed("U32", "32"),
            "ResponseTimeToLive": Typed("U32", "63"),
        },
    )


#: What each cmdlet answers where nothing is special.
OBJECTS: dict[str, list[Any]] = {
    "Get-Acl": [
        Thing(
            "System.Security.AccessControl.DirectorySecurity",
            {
                "Path": "Microsoft.PowerShell.Core\\FileSystem::C:\\inetpub",
                "Owner": "BUILTIN\\Administrators",
                "Group": "NT AUTHORITY\\SYSTEM",
                "AccessToString": "BUILTIN\\Administrators Allow  FullControl",
                "AuditToString": "",
                "Sddl": "O:BAG:SYD:AI(A;OICIID;FA;;;BA)",
            },
        )
    ],
    "Get-FileHash": [
        Thing("Microsoft.Powershell.Utility.FileHash",
              {"Path": "C:\\a_x0041_b.txt", "Algorithm": "SHA256", "Hash": "2D6B" * 16})
    ],
    "Test-Path": [True],
    "Get-LocalGroup": [
        Thing("Microsoft.PowerShell.Commands.LocalGroup",
              {"Name": "Administrators", "SID": "S-1-5-32-544", "Description": "Full access",
               "PrincipalSource": Enumeration("Microsoft.PowerShell.Commands.PrincipalSource",
                                              "Local", 1),
               "ObjectClass": "Group"})
    ],
    "Get-LocalUser": [
        Thing("Microsoft.PowerShell.Commands.LocalUser",
              {"Name": "Administrator", "Enabled": False, "SID": "S-1-5-21-1-2-3-500",
               "FullName": "", "Description": "Built-in", "LastLogon": None,
               "PasswordLastSet": _WHEN, "PasswordExpires": None, "PasswordRequired": True,
               "AccountExpires": None})
    ],
    "Get-ADComputer": [
        _ad("ADComputer", Name="WEB-01", DNSHostName="web-01.acme.example", Enabled=True,
            SamAccountName="WEB-01$", OperatingSystem="Windows Server 2022 Standard",
            LastLogonDate=_WHEN, DistinguishedName="CN=WEB-01,DC=acme,DC=example",
            ObjectGUID=_GUID, SID="S-1-5-21-1-2-3-1103")
    ],
    "Get-ADGroup": [
        _ad("ADGroup", Name="Domain Admins", SamAccountName="Domain Admins",
            GroupCategory=Enumeration("ADGroupCategory", "Security", 1),
            GroupScope=Enumeration("ADGroupScope", "Global", 1), Description="Admins",
            DistinguishedName="CN=Domain Admins,CN=Users,DC=acme,DC=example",
            ObjectGUID=_GUID, SID="S-1-5-21-1-2-3-512")
    ],
    "Get-ADUser": [
        _ad("ADUser", Name="Jane Doe", SamAccountName="jdoe", Enabled=True, LockedOut=False,
            UserPrincipalName="jdoe@acme.example", GivenName="Jane", Surname="Doe",
            EmailAddress="jdoe@acme.example", PasswordExpired=False, PasswordLastSet=_WHEN,
            LastLogonDate=_WHEN, DistinguishedName="CN=Jane Doe,CN=Users,DC=acme,DC=example",
            ObjectGUID=_GUID, SID="S-1-5-21-1-2-3-1104")
    ],
    "Get-ADGroupMember": [
        _ad("ADPrincipal", Name="Jane Doe", SamAccountName="jdoe", ObjectClass="user",
            DistinguishedName="CN=Jane Doe,CN=Users,DC=acme,DC=example",
            ObjectGUID=_GUID, SID="S-1-5-21-1-2-3-1104")
    ],
    "Get-ComputerInfo": [
        Thing("Microsoft.PowerShell.Commands.ComputerInfo",
              {"CsName": "WIN-01", "CsModel": "Virtual Machine",
               "CsTotalPhysicalMemory": Typed("U64", "8589398016"),
               "OsName": "Microsoft Windows Server 2022 Standard", "OsVersion": "10.0.20348",
               "OsBuildNumber": "20348", "OsLastBootUpTime": _WHEN,
               "OsUptime": Typed("TS", "P1DT2H3M4.5S")})
    ],
    "Get-Disk": [
        _cim("root/Microsoft/Windows/Storage/MSFT_Disk", Number=Typed("U32", "0"),
             FriendlyName="Msft Virtual Disk", SerialNumber=None, HealthStatus="Healthy",
             OperationalStatus="Online", Size=Typed("U64", str(_SIZE)),
             AllocatedSize=Typed("U64", str(_SIZE)), PartitionStyle="GPT", BusType="SAS",
             IsBoot=True, IsSystem=True, IsOffline=False, IsReadOnly=False)
    ],
    "Get-Volume": [
        _cim("root/Microsoft/Windows/Storage/MSFT_Volume", DriveLetter=Typed("C", "67"),
             FileSystemLabel="", FileSystem="NTFS", DriveType="Fixed", HealthStatus="Healthy",
             OperationalStatus="OK", SizeRemaining=Typed("U64", "98765432100"),
             Size=Typed("U64", str(_SIZE)))
    ],
    "Get-HotFix": [
        Thing("System.Management.ManagementObject#root\\cimv2\\Win32_QuickFixEngineering",
              {"HotFixID": "KB5034129", "Description": "Security Update", "InstalledOn": _WHEN,
               "InstalledBy": "NT AUTHORITY\\SYSTEM"})
    ],
    "Get-Process": [_process(), _process(4243, "svchost")],
    "Stop-Process": [_process()],
    "Get-Service": [_service(), _service("Spooler", "Stopped", 1)],
    "Start-Service": [_service()],
    "Stop-Service": [_service("W32Time", "Stopped", 1)],
    "Restart-Service": [_service()],
    "Get-WmiObject": [
        Thing("System.Management.ManagementObject#root\\cimv2\\Win32_OperatingSystem",
              {"Caption": "Microsoft Windows Server 2022 Standard", "Version": "10.0.20348"})
    ],
    "Get-EventLog": [
        Thing("System.Diagnostics.EventLogEntry#System/Service Control Manager/3221232506",
              {"Index": 4711, "TimeGenerated": _WHEN, "Source": "Service Control Manager",
               "EntryType": Enumeration("System.Diagnostics.EventLogEntryType", "Error", 1),
               "EventID": 7034, "InstanceId": Typed("I64", "3221232506"), "UserName": None,
               "MachineName": "win-01", "Message": "The service terminated unexpectedly."})
    ],
    "Get-WinEvent": [_event()],
    "Get-Counter": [
        Thing("Microsoft.PowerShell.Commands.GetCounter.PerformanceCounterSampleSet",
              {"Timestamp": _WHEN, "CounterSamples": [
                  Thing("Microsoft.PowerShell.Commands.GetCounter.PerformanceCounterSample",
                        {"Path": "\\\\win-01\\processor(_total)\\% processor time",
                         "InstanceName": "_total", "CookedValue": 7.25, "Timestamp": _WHEN})]})
    ],
    "Get-NetAdapter": [
        _cim("ROOT/StandardCimv2/MSFT_NetAdapter", Name="Ethernet",
             InterfaceIndex=Typed("U32", "6"),
             InterfaceDescription="Microsoft Hyper-V Network Adapter", Status="Up",
             MacAddress="00-15-5D-01-02-03", LinkSpeed="10 Gbps", MtuSize=Typed("U32", "1500"),
             MediaConnectionState=Enumeration("MediaConnectState", "Connected", 1),
             DriverVersion="10.0.20348.1", VlanID=None)
    ],
    "Get-NetIPAddress": [
        _cim("ROOT/StandardCimv2/MSFT_NetIPAddress", IPAddress="192.0.2.10",
             PrefixLength=Typed("By", "24"), InterfaceAlias="Ethernet",
             InterfaceIndex=Typed("U32", "6"),
             AddressFamily=Enumeration("AddressFamily", "IPv4", 2),
             AddressState=Enumeration("AddressState", "Preferred", 4),
             PrefixOrigin=Enumeration("PrefixOrigin", "Dhcp", 3),
             SuffixOrigin=Enumeration("SuffixOrigin", "Dhcp", 3))
    ],
    "Get-NetRoute": [
        _cim("ROOT/StandardCimv2/MSFT_NetRoute", DestinationPrefix="0.0.0.0/0", NextHop="192.0.2.1",
             InterfaceAlias="Ethernet", InterfaceIndex=Typed("U32", "6"),
             RouteMetric=Typed("U16", "256"), InterfaceMetric=Typed("U32", "15"),
             AddressFamily=Enumeration("AddressFamily", "IPv4", 2),
             Protocol=Enumeration("Protocol", "NetMgmt", 3))
    ],
    "Invoke-WebRequest": [
        Thing("Microsoft.PowerShell.Commands.BasicHtmlWebResponseObject",
              {"StatusCode": 200, "StatusDescription": "OK", "Content": '{"status": "ok"}',
               "RawContentLength": Typed("I64", "16"),
               "Headers": {"Content-Type": "application/json"}})
    ],
    "Test-Connection": [_ping(1), _ping(2), _ping(1), _ping(1)],
    "Test-NetConnection": [
        Thing("TestNetConnectionResult",
              {"ComputerName": "web-01.example.org", "RemoteAddress": "192.0.2.7",
               "RemotePort": Typed("U32", "443"), "InterfaceAlias": "Ethernet",
               "SourceAddress": "192.0.2.10", "NameResolutionSucceeded": True,
               "PingSucceeded": True, "TcpTestSucceeded": True})
    ],
    "Get-ScheduledTask": [
        _cim("Root/Microsoft/Windows/TaskScheduler/MSFT_ScheduledTask", TaskName="ScheduledDefrag",
             TaskPath="\\Microsoft\\Windows\\Defrag\\", Author="Microsoft Corporation",
             State=Enumeration("Microsoft.PowerShell.Cmdletization.StateEnum", "Ready", 3),
             Description="Optimizes drives.", URI="\\Microsoft\\Windows\\Defrag\\ScheduledDefrag")
    ],
}  # fmt: skip

_COMMON = {"ErrorAction", "WarningAction", "Verbose"}

#: The parameters that are bound here, as the reference of each cmdlet names them.
PARAMETERS: dict[str, str] = {
    "Get-Acl": "Path LiteralPath InputObject Audit AllCentralAccessPolicies Filter Include Exclude",
    "Get-FileHash": "Path LiteralPath Algorithm InputStream",
    "Test-Path": "Path LiteralPath PathType IsValid NewerThan OlderThan Filter Include Exclude",
    "Get-LocalGroup": "Name SID",
    "Get-LocalUser": "Name SID",
    "Get-ADComputer": "Identity LDAPFilter Filter SearchBase SearchScope Server Properties "
    "ResultSetSize ResultPageSize Credential AuthType Partition",
    "Get-ADGroup": "Identity LDAPFilter Filter SearchBase SearchScope Server Properties "
    "ResultSetSize ResultPageSize Credential AuthType Partition ShowMemberTimeToLive",
    "Get-ADUser": "Identity LDAPFilter Filter SearchBase SearchScope Server Properties "
    "ResultSetSize ResultPageSize Credential AuthType Partition",
    "Get-ADGroupMember": "Identity Recursive Server Credential AuthType Partition",
    "Get-ComputerInfo": "Property",
    "Get-Disk": "Number UniqueId FriendlyName SerialNumber Path CimSession",
    "Get-Volume": "DriveLetter FileSystemLabel ObjectId UniqueId Path CimSession",
    "Get-HotFix": "Id Description ComputerName Credential",
    "Get-Process": "Name Id InputObject IncludeUserName Module FileVersionInfo ComputerName",
    "Stop-Process": "Name Id InputObject Force PassThru Confirm WhatIf",
    "Get-Service": "Name DisplayName Include Exclude DependentServices RequiredServices "
    "InputObject ComputerName",
    "Start-Service": "Name DisplayName InputObject Include Exclude PassThru Confirm WhatIf",
    "Stop-Service": "Name DisplayName InputObject Include Exclude Force NoWait PassThru",
    "Restart-Service": "Name DisplayName InputObject Include Exclude Force PassThru",
    "Get-WmiObject": "Class Namespace Filter Property Query List Recurse Amended DirectRead "
    "ComputerName Credential Authentication Impersonation",
    "Get-EventLog": "LogName EntryType Source After Before Newest InstanceId Index Message "
    "UserName AsBaseObject AsString List ComputerName",
    "Get-WinEvent": "LogName ProviderName Path FilterHashtable FilterXPath FilterXml MaxEvents "
    "Oldest Force ListLog ListProvider ComputerName Credential",
    "Get-Counter": "Counter MaxSamples SampleInterval Continuous ListSet ComputerName",
    "Get-NetAdapter": "Name InterfaceDescription InterfaceIndex Physical IncludeHidden CimSession",
    "Get-NetIPAddress": "IPAddress InterfaceAlias InterfaceIndex AddressFamily AddressState Type "
    "PrefixLength PrefixOrigin SuffixOrigin PolicyStore SkipAsSource",
    "Get-NetRoute": "DestinationPrefix InterfaceAlias InterfaceIndex NextHop AddressFamily "
    "Protocol RouteMetric PolicyStore State",
    "Invoke-WebRequest": "Uri Method Headers Body ContentType TimeoutSec MaximumRedirection "
    "UseBasicParsing UserAgent OutFile PassThru Credential UseDefaultCredentials Certificate",
    "Test-Connection": "ComputerName Count Delay BufferSize TimeToLive Quiet AsJob Source Protocol "
    "DcomAuthentication WsmanAuthentication Impersonation ThrottleLimit Credential",
    "Test-NetConnection": "ComputerName Port CommonTCPPort TraceRoute Hops InformationLevel "
    "DiagnoseRouting ConstrainInterface ConstrainSourceAddress",
    "Get-ScheduledTask": "TaskName TaskPath CimSession",
}


def canned(command: dict[str, Any]) -> Reply:
    """The answer to the first command of a pipeline."""
    if command["is_script"]:
        return _script(command["name"], command["parameters"])
    name, bound = command["name"], command["parameters"]
    if name not in OBJECTS:
        message = f"The term '{name}' is not recognized as the name of a cmdlet."
        return Reply(terminating=Fault(message, 13, "CommandNotFoundException", name))
    for parameter in bound:
        if parameter not in PARAMETERS[name].split() and parameter not in _COMMON:
            message = f"A parameter cannot be found that matches parameter name '{parameter}'."
            return Reply(terminating=Fault(message, 5, f"NamedParameterNotFound,{name}"))
    return Reply(list(OBJECTS[name]))


def _script(text: str, bound: dict[str, Any]) -> Reply:
    first = text.partition("\n")[0]
    if first.startswith("# runstream: "):
        return _OWN[first.removeprefix("# runstream: ")](bound)
    # A script of the user's: the fake shows what it was given.
    return Reply([text, Thing("Given", dict(bound))])


def _rows(bound: dict[str, Any]) -> Reply:
    ended = Thing("Ended", {"ExitCode": 0, "Text": "" if bound["Action"] == "query" else "SUCCESS"})
    row = {"HostName": "WIN-01", "TaskName": "\\Acme\\Clean-up", "Next Run Time": "N/A",
           "Status": "Ready", "Last Result": "0"}  # fmt: skip
    rows = [Thing("Row", row), Thing("Row", {**row, "TaskName": "\\Acme\\Other"})]
    return Reply([ended, *(rows if bound["Action"] == "query" else [])])


def _registered(bound: dict[str, Any]) -> Reply:
    path, name = bound["TaskPath"], bound["TaskName"]
    return Reply(
        [
            _cim("MSFT_ScheduledTask", TaskName=name, TaskPath=path, Author=None, URI=path + name,
                 State=Enumeration("StateEnum", "Ready", 3), Description=bound.get("Description"))
        ]
    )  # fmt: skip


def _job(_: dict[str, Any]) -> Reply:
    return Reply([Thing("Job", {"Id": 1, "Name": "Job1", "State": "Completed"}), "done", 42])


def _measured(bound: dict[str, Any]) -> Reply:
    return Reply([Thing("System.TimeSpan", {"TotalSeconds": 0.0123})] * bound["Repeat"])


def _invoked(bound: dict[str, Any]) -> Reply:
    return Reply([bound["Script"], Thing("Given", {"Arguments": bound.get("Arguments")})])


_OWN: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "schtasks": _rows,
    "register_scheduledtask": _registered,
    "start_job": _job,
    "measure_command": _measured,
    "invoke_command": _invoked,
}
