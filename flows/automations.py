"""What the server does by itself: a flow run whose process is gone is marked Crashed, not left Running.

A running flow sends a heartbeat every `HEARTBEAT_SECONDS`. Where none comes for `SILENCE_SECONDS`, its
process is taken for dead. Whoever is only slow comes back: its next state replaces Crashed.
"""

from typing import Any

from flows import local_server

HEARTBEAT_SECONDS = 30
"""The shortest that Prefect takes."""
SILENCE_SECONDS = 80
"""Two heartbeats and a bit; with the server's own pace a death is known within two minutes."""
START_SECONDS = 600
"""A worker that took a flow run starts it within this time, or it has died."""
ENDED = [f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Paused")]


def ensure(port: int) -> None:
    """Enter the automations where they are missing; the server keeps them."""
    known = {each["name"] for each in local_server.call(port, "automations/filter", {})}
    for automation in (_crashed(), _never_started()):
        if automation["name"] not in known:
            local_server.call(port, "automations/", automation)


def _crashed() -> dict[str, Any]:
    return _automation(
        "Runs whose process is gone are Crashed",
        after=["prefect.flow-run.heartbeat"],
        expect=["prefect.flow-run.heartbeat", *ENDED],
        within=SILENCE_SECONDS,
        message=f"No sign of life for {SILENCE_SECONDS} s: its process or its machine is gone. What is finished is"
        " kept; run it again and it goes on from there.",
    )


def _never_started() -> dict[str, Any]:
    return _automation(
        "Runs that a worker took and never started are Crashed",
        after=["prefect.flow-run.Pending"],
        expect=["prefect.flow-run.Running", "prefect.flow-run.Scheduled", *ENDED],
        within=START_SECONDS,
        message=f"A worker took this run and did not start it within {START_SECONDS} s: run it again.",
    )


def _automation(name: str, after: list[str], expect: list[str], within: int, message: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Entered by lesionlens at the start of the server.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "for_each": ["prefect.resource.id"],
            "after": after,
            "expect": expect,
            "threshold": 1,
            "within": within,
        },
        "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "message": message}],
    }
