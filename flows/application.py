"""The server's application: Prefect's own, and pages of the record at /reports/<study id> and /comparisons/<id>.

Pages come from the record, so one that another machine rendered opens here too.
"""

from collections.abc import Callable

from fastapi import FastAPI
from prefect.server.api.server import create_app as prefect_app
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from db import reports
from db.engine import make_engine


def create_app() -> FastAPI:
    """Prefect's server with the pages of the record."""
    app = prefect_app()
    for route in (Route("/reports/{number:int}", _report), Route("/comparisons/{number:int}", _comparison)):
        app.router.routes.insert(0, route)  # before the UI, which takes every path
    return app


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
