"""Chaos: breaks a stack of its own while mail flows, and checks that nothing is lost.

`make chaos` runs it. docs/reliability.md says what it promises. A fault, a source of load and a
rule are each one small file in ``faults/``, ``load/`` and ``rules/``.
"""
