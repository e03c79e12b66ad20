"""The services that the calls for operators use, each under its key."""

from __future__ import annotations

from aiohttp import web

from babygun.api.operations.cluster_reading import ClusterReading
from babygun.store.cluster.health import Checkup
from babygun.store.cluster.processes import Processes

CLUSTER = web.AppKey("cluster", ClusterReading)
HEALTH = web.AppKey("health", Checkup)
PROCESSES = web.AppKey("processes", Processes)
