"""The settings that all workers must have alike, as each worker's record shows them.

All settings are, but for those that a process has of its own. So a new setting is compared, too.
"""

from __future__ import annotations

import hashlib

from babygun.runtime.settings import Settings
from babygun.store.audit.runs import shown

# Of a process: its way to etcd; its files; its names, addresses and ports; how much it does at a
# time; who it is for people. No other process works by them.
OWN = frozenset(
    {
        *("etcd_endpoints", "etcd_user", "etcd_ca", "etcd_cert", "etcd_key", "etcd_timeout"),
        *("secrets_key_file", "api_cert", "api_key", "api_ca", "bounce_cert", "bounce_key"),
        *("sts_ca", "providers", "reply_rules"),
        *("api_host", "api_port", "api_process_port", "worker_host", "worker_port"),
        *("bounce_host", "bounce_port", "bounce_probe_host", "bounce_probe_port"),
        *("smtp_hostname", "resolvers", "trusted_proxies", "proxy_protocol"),
        *("processes", "watchdog", "lease_ttl", "reconcile_interval", "drain_timeout"),
        *("worker_concurrency", "worker_memory", "worker_ready"),
        *("api_memory", "api_connections", "api_connections_per_address", "bounce_connections"),
        *("cluster", "api_url", "client_id", "log_level", "log_format"),
    }
)


def shared_settings(settings: Settings) -> dict[str, str]:
    """By name, a short hash of each shared setting that is not the default.

    Secrets are not among them: who may read the records could guess a short one.
    """
    return {
        name: hashlib.sha256(text.encode()).hexdigest()[:8]
        for name, text in shown(settings).items()
        if text != "(set)" and name not in OWN
    }
