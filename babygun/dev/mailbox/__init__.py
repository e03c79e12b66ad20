"""The mailbox: an SMTP server that accepts all mail, and pages that show it."""
