"""GET /workers."""

from __future__ import annotations

from aiohttp import web

from babygun.api.http.context import STORE
from babygun.api.http.responses import json_answer
from babygun.api.http.routes import READ_ERRORS, Answer, Routes
from babygun.api.operations.documents import WorkerList, worker_document
from babygun.store.cluster import processes

routes = Routes("operations")


@routes.call(
    "GET",
    "/workers",
    summary="List the live workers",
    scope="workers:read",
    answers=[Answer(200, "The workers whose lease is alive.", WorkerList)],
    errors=READ_ERRORS,
)
async def list_workers(request: web.Request) -> web.Response:
    workers = await processes.list_workers(request.app[STORE])
    return json_answer(WorkerList([worker_document(worker) for worker in workers]))
