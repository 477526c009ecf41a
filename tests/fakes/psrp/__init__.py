"""A FAKE Windows host: WinRM and PowerShell remoting as far as a client sees them, no PowerShell.

It speaks the real protocols ([MS-WSMV], [MS-PSRP]) over HTTP(S), with an own reading and writing
of both; what a command answers is canned (`canned.py`). Nothing is executed.
"""
