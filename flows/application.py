"""The server's application: Prefect's own, and every study's report at /reports/<study id>.

Reports come from the record, so one that another machine rendered opens here too.
"""

from fastapi import FastAPI
from prefect.server.api.server import create_app as prefect_app
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from db import read
from db.engine import make_engine


def create_app() -> FastAPI:
    """Prefect's server with one more page per study."""
    app = prefect_app()
    app.router.routes.insert(0, Route("/reports/{study_id:int}", _report))  # before the UI, which takes every path
    return app


async def _report(request: Request) -> Response:
    html = await run_in_threadpool(_newest, request.path_params["study_id"])
    if html is None:
        return PlainTextResponse("The record holds no report of this study: run `report` first", status_code=404)
    return HTMLResponse(html)


def _newest(study_id: int) -> bytes | None:
    with make_engine().connect() as connection:
        return read.newest_report(connection, study_id)
