"""The tests of the one door by which e-mails come in."""
