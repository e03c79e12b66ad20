"""The procedures for hosts with systemd, on plain processes: ``make test-system``."""
