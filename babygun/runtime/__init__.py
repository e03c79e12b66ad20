"""How a process runs: settings, logs, metrics, traces, clock, event loop, ports, supervisor."""
