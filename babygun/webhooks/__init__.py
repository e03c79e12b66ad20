"""Sends notices to the webhooks of clients. Begin with :mod:`babygun.webhooks.sender`."""
