"""The calls on webhooks: make and change them, see what was sent to them, send it again."""
