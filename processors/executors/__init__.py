"""Executors: lanes claim step commands, the agent runs their drivers and reports the results."""
