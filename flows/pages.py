"""The server's application: Prefect's own, and pages of the record at /reports/<study id> and /comparisons/<id>.

Pages come from the record, so one that another machine rendered opens here too.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from prefect.server.api.server import create_app as prefect_app
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from db import reports
from db.engine import make_engine
from lesionlens.settings import home


def create_app() -> FastAPI:
    """Prefect's server with the pages of the record; ends with the last command that uses it."""
    threading.Thread(target=_end_with_last_user, args=(home().prefect / "users.lock",), daemon=True).start()
    app = prefect_app()
    for route in (Route("/reports/{number:int}", _report), Route("/comparisons/{number:int}", _comparison)):
        app.router.routes.insert(0, route)  # before the UI, which takes every path
    return app


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


async def _page(request: Request, find: Callable[[Connection, int], bytes | None], missing: str) -> Response:
    def found() -> bytes | None:
        with make_engine().connect() as connection:
            return find(connection, request.path_params["number"])

    html = await run_in_threadpool(found)
    if html is None:
        return PlainTextResponse(f"The record holds {missing}", status_code=404)
    return HTMLResponse(html)
