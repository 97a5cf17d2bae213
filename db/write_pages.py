"""Writing rendered pages."""

from sqlalchemy import Connection

from db import tables
from db.write_data import enter
from lesionlens.identity import bytes_digest


def save_report(connection: Connection, study_id: int, digest: str, path: str, html: bytes) -> int:
    """Keep a study's page; returns its id, the same for the same digest."""
    key = {"study_id": study_id, "digest": digest}
    return enter(connection, tables.report, key, {"path": path, "html": html})[0]


def save_comparison_page(connection: Connection, path: str, html: bytes) -> int:
    """Keep a comparison's page; returns its id, the same for the same page."""
    return enter(connection, tables.comparison_page, {"digest": bytes_digest([html])}, {"path": path, "html": html})[0]
