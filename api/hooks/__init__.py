"""Webhooks: who may send them, and what is kept of what they bring."""
