"""What the `winrm` driver is made of: PowerShell remoting without a shell string in sight."""
