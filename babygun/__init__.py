"""Babygun: a self-hosted e-mail sending service on etcd."""

__version__ = "0.1.0"
