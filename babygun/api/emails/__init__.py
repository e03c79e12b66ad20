"""The calls on e-mails."""
