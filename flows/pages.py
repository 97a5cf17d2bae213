"""The server's application: Prefect's own, and pages of the record at /reports, /reports/<study id>, /comparisons/<id>.

Pages come from the record, so one that another machine rendered opens here too. They open with the login of Prefect's
API; a browser asks for it, and then sends it along whoever asks, so that what another page sends is refused.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Sequence
from hmac import compare_digest
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.security import HTTPBasic
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prefect.server.api.server import create_app as prefect_app
from prefect.server.database import provide_database_interface
from prefect.server.models import artifacts
from prefect.server.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterType
from prefect.settings import PREFECT_SERVER_CORS_ALLOWED_ORIGINS
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db import reports
from db.engine import make_engine
from db.queries import catalogue
from flows.environment import HERE, login
from lesionlens.settings import home

ROOT = Path(__file__).resolve().parents[1]


def create_app() -> ASGIApp:
    """Prefect's server with the pages of the record; ends with the last command that uses it."""
    threading.Thread(target=_end_with_last_user, args=(home().prefect / "users.lock",), daemon=True).start()
    app = prefect_app()
    for route in (
        Route("/reports", _index),
        Route("/reports/{number:int}", _report),
        Route("/comparisons/{number:int}", _comparison),
    ):
        app.router.routes.insert(0, route)  # before the UI, which takes every path
    # around Prefect's application, not in it: its own services ask it under another name, past this door
    door = SameOrigin(app, str(PREFECT_SERVER_CORS_ALLOWED_ORIGINS.value()).split(","))
    return TrustedHostMiddleware(door, allowed_hosts=HERE)  # a foreign name may be made to lead here


class SameOrigin:
    """Refuses every request that a page of another origin sent; programs name no origin. Lets pages ask nobody else:
    Prefect's ask an analytics service for its settings, whatever the server's own say."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app, self._origins = app, origins
        sockets = [origin.replace("http", "ws", 1) for origin in origins]
        self._policy = " ".join(["connect-src", "'self'", *origins, *sockets]).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass on."""
        origin = Headers(scope=scope).get("origin") if scope["type"] in ("http", "websocket") else None
        refused = PlainTextResponse("This page may not talk to this server", status_code=403)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", self._policy)]
            await send(message)

        await (self._app if origin is None or origin in self._origins else refused)(scope, receive, guarded)


def _end_with_last_user(path: Path) -> None:
    """Every user holds the lock shared, and loses it when it ends by whatever cause."""
    with path.open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)  # waits until nobody else holds it
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()  # the lock is kept to the end: who comes now waits and starts a server anew


async def _report(request: Request) -> Response:
    return await _page(request, reports.newest_report, "no report of this study: run `report` first")


async def _comparison(request: Request) -> Response:
    return await _page(request, reports.find_comparison, "no such comparison: run `compare` again")


async def _index(request: Request) -> Response:
    refused = await _refused(request)
    if refused:
        return refused

    def found() -> dict[str, list[dict[str, Any]]]:
        with make_engine().connect() as connection:
            return {
                "studies": catalogue.reports(connection).to_dicts(),
                "comparisons": catalogue.comparisons(connection).to_dicts(),
            }

    listed, runs = await run_in_threadpool(found), await _newest_runs()
    environment = Environment(loader=FileSystemLoader([ROOT / "templates", ROOT / "templates" / "css"]),
                              autoescape=True, undefined=StrictUndefined)  # fmt: skip
    return HTMLResponse(environment.get_template("reports.html").render(**listed, runs=runs))


async def _newest_runs() -> dict[str, UUID]:
    """The flow run of this server that last showed a page, by the key that its artifact has."""
    database = provide_database_interface()
    kept = ArtifactCollectionFilter(type=ArtifactCollectionFilterType(any_=["markdown"]))
    async with database.session_context() as session:
        found = await artifacts.read_latest_artifacts(  # type: ignore[attr-defined]
            session=session, artifact_filter=kept
        )
        return {str(each.key): each.flow_run_id for each in found if each.flow_run_id}


async def _page(request: Request, find: Callable[[Connection, int], bytes | None], missing: str) -> Response:
    refused = await _refused(request)
    if refused:
        return refused

    def found() -> bytes | None:
        with make_engine().connect() as connection:
            return find(connection, request.path_params["number"])

    html = await run_in_threadpool(found)
    if html is None:
        return PlainTextResponse(f"The record holds {missing}", status_code=404)
    return HTMLResponse(html)


async def _refused(request: Request) -> Response | None:
    """What a browser without the login gets."""
    given = await HTTPBasic(realm="lesionlens")(request)
    if given is None or not compare_digest(f"{given.username}:{given.password}".encode(), login(home()).encode()):
        return PlainTextResponse("Wrong login", status_code=401, headers={"WWW-Authenticate": "Basic"})
    return None
