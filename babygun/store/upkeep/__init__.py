"""Retention, shedding, compaction: what keeps etcd from becoming full."""
