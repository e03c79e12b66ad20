"""The one door by which e-mails come in: rules, limits, ids, queues, acceptance."""
