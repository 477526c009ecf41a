"""The console in a browser: server-rendered pages over what the API reads and does."""
