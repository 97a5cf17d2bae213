"""The door before Prefect's application and the pages of the record."""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.pages import SameOrigin

OWN = "http://127.0.0.1:4200"


def test_a_page_may_ask_this_server_alone() -> None:
    """Prefect's pages ask an analytics service for its settings, whatever the server's own say."""
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("page"))])
    answer = TestClient(SameOrigin(app, [OWN])).get("/", headers={"Origin": OWN})
    assert answer.text == "page"
    assert answer.headers["content-security-policy"] == f"connect-src 'self' {OWN} ws://127.0.0.1:4200"
    assert TestClient(SameOrigin(app, [OWN])).get("/", headers={"Origin": "https://evil.example"}).status_code == 403
