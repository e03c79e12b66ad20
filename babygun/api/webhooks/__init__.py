"""The calls on webhooks: to have some, to see what was sent to them, to send it again."""
