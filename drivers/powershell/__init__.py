"""The `winrm` driver: PowerShell remoting, with every value bound as a parameter."""
