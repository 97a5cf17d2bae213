"""A study's runs shared out among machines: deployment runs of `share`, taken by the workers of one work pool.

A share takes whichever runs of the study nobody else has in hand, until none is left. The record says what
is done and who holds what, so a machine may join late, and the runs of one that died are free at once.
"""

import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from httpx import TransportError
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelled, Cancelling
from sqlalchemy.exc import DBAPIError

from lesionlens.config import ExecutionConfig, StudyConfig
from tasks.recorded import passing
from tasks.study import Runs, Stage, free_runs, missing_runs

DEPLOYMENT = "share/share"
LOOK_SECONDS = 2.0
REMIND_SECONDS = 60.0
MOST_TROUBLES = 5
"""A study is given up after so many of its shares failed or crashed."""


def hand_out(stage: Stage, study_id: int, config: StudyConfig, execution: ExecutionConfig, since: datetime) -> None:
    """Keep up to `execution.shares` deployment runs at work until the stage lacks nothing.

    RuntimeError, with the last one's message, when several of them ended in error.
    """
    parameters: dict[str, object] = {
        "stage": stage,
        "study_id": study_id,
        "execution": execution.model_copy(update={"runner": "local"}).model_dump(mode="json"),
        "since": since.isoformat(),
    }
    sent: list[UUID] = []
    said = time.monotonic()
    try:
        while not _look(stage, study_id, config, execution, since, parameters, sent):
            if time.monotonic() - said > REMIND_SECONDS:
                said = time.monotonic()
                _tell(stage, study_id, sent)
            time.sleep(LOOK_SECONDS)
    except BaseException:  # cancelled, interrupted or failed: nobody waits for the shares any more
        _withdraw(sent, running=True)
        raise
    _withdraw(sent, running=False)


def _look(
    stage: Stage,
    study_id: int,
    config: StudyConfig,
    execution: ExecutionConfig,
    since: datetime,
    parameters: dict[str, object],
    sent: list[UUID],
) -> bool:
    """Send shares where runs are free; True if nothing is missing. Waits out a database or a server that restarts."""
    try:
        runs = missing_runs.fn(stage, study_id, config, since)
        if not runs:
            return True
        shares = _read(sent)
        _give_up_on_trouble(shares)
        for _ in range(_wanted(stage, runs, shares, execution)):
            sent.append(_send(parameters))
            get_run_logger().info("Share %d of study %s waits for a worker", len(sent), study_id)
    except (DBAPIError, TransportError) as error:
        if isinstance(error, DBAPIError) and not passing(error):
            raise
        get_run_logger().warning("Looking again in a moment: %s", error)
    return False


def _send(parameters: dict[str, object]) -> UUID:
    sent = run_deployment(DEPLOYMENT, parameters=parameters, timeout=0)
    assert isinstance(sent, FlowRun)  # a coroutine only where an event loop runs
    return sent.id


def _wanted(stage: Stage, runs: Runs, shares: list[FlowRun], execution: ExecutionConfig) -> int:
    """How many more shares to send: one for each free run that no share is left to take."""
    alive = sum(1 for share in shares if share.state is not None and not share.state.is_final())
    return max(0, min(execution.shares - alive, len(free_runs(stage, runs))))


def _read(sent: list[UUID]) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return [client.read_flow_run(number) for number in sent]


def _give_up_on_trouble(shares: list[FlowRun]) -> None:
    states = [share.state for share in shares if share.state is not None]
    troubles = [state for state in states if state.is_failed() or state.is_crashed()]
    if len(troubles) >= MOST_TROUBLES:
        raise RuntimeError(
            f"{len(troubles)} shares of this study ended in error, the last one with: {troubles[-1].message}"
        )


def _tell(stage: Stage, study_id: int, sent: list[UUID]) -> None:
    with suppress(TransportError):
        kinds = Counter(share.state.type.value.lower() for share in _read(sent) if share.state is not None)
        shares = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        get_run_logger().info("%s study %s: shares %s", stage, study_id, shares)
        if kinds["scheduled"] and not kinds["running"] and not kinds["pending"]:
            get_run_logger().warning("No worker takes the shares: start one with `make worker`")


def _withdraw(sent: list[UUID], running: bool) -> None:
    """Cancel the shares that no worker has taken; with `running`, also those at work."""
    shares = _read(sent)
    with get_client(sync_client=True) as client:
        for share in shares:
            if share.state is None or share.state.is_final():
                continue
            if share.state.is_scheduled():
                client.set_flow_run_state(share.id, Cancelled(message="Nothing left to do"))
            elif running:
                client.set_flow_run_state(share.id, Cancelling(message="The study was stopped"))
