"""The application behind `weighup serve`: routes, middleware, and the crew that works beside them.

    desk = Desk(Verifier(settings), database, alerts=outbox(settings), settings=settings.watch)
    app = create_app(settings, database, desk)

Requests pass, from the outside in: `Observed` (request id, security headers, log), `Hosts` (our names only), `Limits`
(size, time, how many), then the route's own guard (key, scope, pace). Shutting down sets `parts.stopping`: new requests
are refused, streams end, what is being checked is finished, and what was only taken is given back.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi import FastAPI

from weighup import __version__
from weighup.serve.alerts.courier import Courier
from weighup.serve.api import openapi, problems
from weighup.serve.api.auth import Gate
from weighup.serve.api.binding import Hosts
from weighup.serve.api.checking import Line
from weighup.serve.api.crew import Crew, Run
from weighup.serve.api.limits import Limits, Pool
from weighup.serve.api.observe import Observed, Observer
from weighup.serve.api.parts import Parts
from weighup.serve.api.routes import alerts, checks, feeds, health, jobs, keys, knowledge, verdicts
from weighup.serve.api.shelf import Shelf
from weighup.serve.work.manners import give_back_memory
from weighup.serve.work.worker import Worker

if TYPE_CHECKING:
    from weighup.retrieve.store import EvidenceStore
    from weighup.serve.db import Database
    from weighup.serve.desk import Desk
    from weighup.settings import Settings

ROUTERS = (
    health.router,
    health.guarded,
    checks.router,
    jobs.router,
    verdicts.router,
    knowledge.router,
    feeds.router,
    alerts.router,
    keys.router,
)

logger = logging.getLogger("weighup.serve")


def create_app(
    settings: Settings,
    database: Database,
    desk: Desk,
    *,
    watch: bool = False,
    names: Iterable[str] = (),
    stores: Sequence[EvidenceStore] | None = None,
    traced: bool | None = None,
) -> FastAPI:
    """The ASGI application; `app.state.parts` holds what its routes work with. It closes neither database nor desk.

    Beside it run `settings.serve.workers` workers, a courier if anybody is to be told of changes, and with `watch` a
    watcher of feeds. `names`: further hosts that it may be asked by. `stores`: what /v1/evidence searches; None: what
    the desk's checker does. `traced`: whether traces are sent; None: if OTEL_EXPORTER_OTLP_ENDPOINT says where to.
    Raises SettingsError for receivers of alerts that cannot be used.
    """
    observer = Observer(traced=traced)
    pool = Pool()
    parts = Parts(
        settings=settings,
        database=database,
        desk=desk,
        gate=Gate(database, settings.serve, pool),
        pool=pool,
        line=Line(
            desk, waiting=settings.serve.waiting, patience=settings.serve.request_seconds / 2, told=observer.batch
        ),
        shelf=Shelf(desk.checker, stores),
        observer=observer,
        stopping=threading.Event(),
    )
    courier = Courier(database, settings)
    runs = _runs(parts, courier, watch=watch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        crew = Crew(runs, parts.stopping)
        crew.start()
        try:
            yield
        finally:
            parts.stopping.set()
            await anyio.to_thread.run_sync(_drain, parts, crew)
            courier.close()

    app = FastAPI(
        title="weighup",
        version=__version__,
        summary="Judges news as it breaks, with evidence, reasoning and tone each judged for reliability first.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    openapi.install(app)

    from weighup.serve.page import add_page

    add_page(app)
    # The last one added is the outermost.
    app.add_middleware(Limits, settings=settings.serve, stopping=parts.stopping)
    app.add_middleware(Hosts, host=settings.serve.host, public_url=settings.serve.public_url, more=names)
    app.add_middleware(Observed, observer=observer)
    return app


def _runs(parts: Parts, courier: Courier, *, watch: bool) -> dict[str, Run]:
    """What runs beside the requests, by name."""
    own = f"serve:{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    runs: dict[str, Run] = {"memory": give_back_memory}
    for number in range(1, parts.settings.serve.workers + 1):
        runs[f"worker-{number}"] = Worker(parts.desk, f"{own}:{number}").run
    if courier.channels:
        runs["courier"] = courier.run
    if watch:
        from weighup.serve.watch.watcher import Watcher

        runs["watcher"] = Watcher(parts.desk, parts.settings, f"{own}:watch").run
    return runs


def _drain(parts: Parts, crew: Crew) -> None:
    seconds = parts.settings.serve.request_seconds
    parts.line.close(seconds)
    if late := crew.join(seconds):
        logger.warning("stopped in the middle of work, which will be taken again: %s", ", ".join(late))
    parts.observer.close()
