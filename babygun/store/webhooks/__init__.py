"""Webhooks of clients, and the outbox: the duty to send an event, written with what happened."""
