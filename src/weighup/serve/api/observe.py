"""What the server tells of itself: metrics (Prometheus), traces (OpenTelemetry), one JSON line in the log per request.

No line at level info or above holds a key, a query string, a claim or an error's own words, which may quote one;
whatever looks like a key is struck out of every line, at every level. Traces are made only where
OTEL_EXPORTER_OTLP_ENDPOINT says where they go.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from weighup.serve.api.problems import Problem, problem_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"wu_[0-9A-Za-z]{2,20}_[^\s\"'\\,;&]*")
_STEPS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

logger = logging.getLogger("weighup.serve")


class Observer:
    """The measurements of one app, and its traces."""

    def __init__(self, *, traced: bool | None = None) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "weighup_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "weighup_request_seconds",
            "Seconds until a request was answered.",
            ("method", "route"),
            buckets=_STEPS,
            registry=self.registry,
        )
        self.verdicts = Counter("weighup_verdicts", "Verdicts of single checks.", ("label",), registry=self.registry)
        self.batches = Histogram(
            "weighup_batch_seconds", "Seconds of a batch of single checks.", buckets=_STEPS, registry=self.registry
        )
        self.batched = Counter("weighup_batched_checks", "Single checks that went through.", registry=self.registry)
        self.waiting = Gauge("weighup_waiting_checks", "Single checks in line.", registry=self.registry)
        self.under_way = Gauge("weighup_requests_under_way", "Requests being answered.", registry=self.registry)
        ProcessCollector(registry=self.registry)
        self.provider = _provider() if (bool(os.environ.get(ENDPOINT)) if traced is None else traced) else None

    def batch(self, size: int, seconds: float) -> None:
        """Count a batch of single checks."""
        self.batched.inc(size)
        self.batches.observe(seconds)

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    @contextlib.contextmanager
    def span(self, scope: Scope) -> Iterator[Any]:
        """A span for a request, under the caller's own trace if it names one; None where nothing is traced."""
        if self.provider is None:
            yield None
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        names = (b"traceparent", b"tracestate")
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in names}
        parent = TraceContextTextMapPropagator().extract(carrier)
        tracer = self.provider.get_tracer("weighup.serve")
        # What an exception says may quote a claim: it is not put into the trace.
        with tracer.start_as_current_span(
            scope["method"], parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    def close(self) -> None:
        """Send what traces there are."""
        if self.provider is not None:
            self.provider.shutdown()


class Observed:
    """Middleware, outermost: request ids, security headers, measurements, the log, and what nobody foresaw."""

    def __init__(self, app: ASGIApp, *, observer: Observer) -> None:
        self.app = app
        self.observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        begun, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                there = {name.lower() for name, _ in headers}
                message["headers"] = [
                    *headers,
                    *(pair for pair in _HEADERS if pair[0] not in there),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        with self.observer.span(scope) as span, self.observer.under_way.track_inprogress():
            try:
                await self.app(scope, receive, answer)
            except Exception as error:  # the last place at which it can be answered
                _log_error(error, request_id)
                if status:
                    raise
                problem = problem_of(error if isinstance(error, Problem) else RuntimeError())
                await problem.answer(request_id)(scope, receive, answer)
            finally:
                self._tell(scope, status, time.monotonic() - begun, request_id, span)

    def _tell(self, scope: Scope, status: int, seconds: float, request_id: str, span: Any) -> None:
        route = getattr(scope.get("route"), "path", None) or "(none)"
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self.observer.requests.labels(method, route, str(status)).inc()
        self.observer.seconds.labels(method, route).observe(seconds)
        caller = scope["state"].get("caller")
        told = {
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
            "client": (scope.get("client") or ("",))[0],
            "key": None if caller is None else caller.name,
            "tenant": None if caller is None else caller.tenant,
        }
        logger.info("request", extra=told)
        if span is not None:
            span.update_name(f"{method} {route}")
            for name, value in (
                ("http.request.method", method),
                ("http.route", route),
                ("http.response.status_code", status),
                ("weighup.request_id", request_id),
            ):
                span.set_attribute(name, value)
            if status >= 500:
                from opentelemetry.trace import StatusCode

                span.set_status(StatusCode.ERROR)


class JsonLines(logging.Formatter):
    """A record as one line of JSON, without anything that looks like a key."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = type(record.exc_info[1]).__name__
            told["at"] = _frames(record.exc_info[1])
            if record.levelno < logging.INFO:
                told["detail"] = str(record.exc_info[1])
        return without_keys(json.dumps(told, ensure_ascii=False, default=str))


def without_keys(text: str) -> str:
    """`text` with every API key struck out but for its public prefix."""
    return _KEY.sub(lambda found: "_".join((*found[0].split("_")[:2], "***")), text)


def set_up_logs(level: str) -> None:
    """JSON lines on standard error, for everything in this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("weighup").setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        log = logging.getLogger(name)
        log.handlers[:] = []
        log.propagate = True
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _log_error(error: BaseException, request_id: str) -> None:
    told = {"request_id": request_id, "error": type(error).__name__, "at": _frames(error)}
    logger.error("unexpected", extra=told)
    logger.debug("unexpected", exc_info=error, extra={"request_id": request_id})


def _frames(error: BaseException) -> list[str]:
    """Where it happened, innermost last, without a word of what it said."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given) and not _KEY.search(given):
                return str(given)
    return uuid.uuid4().hex


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "weighup"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
