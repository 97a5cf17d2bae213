"""What the scaling benchmark's server and workers run: the flows of a study, with sleep in place of computing."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any
from unittest.mock import patch

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from upath import UPath

from benchmarks.scaling import BYTES, EPOCHS, SECONDS
from flows import shares
from flows.server import SHARES
from flows.work import complete, take_what_is_free
from lesionlens.config import ExecutionConfig, RunConfig, StudyConfig
from lesionlens.records import Checkpoint, EpochResult
from tasks import train
from tasks.study import Stage, missing_runs, study_config


@flow(name="simulated study")
def simulated_study(study_id: int, config: StudyConfig) -> None:
    """Hand the runs out as a study does, and wait for them."""
    shares.DEPLOYMENT = "simulated share/simulated share"
    complete("train", study_id, config, config.execution)


@flow(name="simulated share")
def simulated_share(stage: Stage, study_id: int, execution: ExecutionConfig, since: datetime) -> None:
    """A share of a study whose networks sleep."""
    config = study_config(study_id)
    with patch.object(train, "fit", _sleep):
        take_what_is_free(stage, study_id, config, execution, since, missing_runs(stage, study_id, config, since))


def _sleep(run: RunConfig, training: object, patches: object, folder: UPath, *rest: Any) -> Iterator[EpochResult]:
    for epoch in range(1, EPOCHS + 1):
        time.sleep(SECONDS)
        data = os.urandom(BYTES)
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{epoch:04d}-{sha256[:16]}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        found = tuple(Checkpoint(role, 1, epoch, name, sha256, BYTES) for role in ("best", "last"))
        yield EpochResult(1, epoch, 1.0, 1.0, 0.5, SECONDS, {"head": run.head_rate}, True, found)
        for other in folder.iterdir():
            if other.name != name:
                other.unlink()


def deploy() -> None:
    """Make the work pool and the share's deployment."""
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=SHARES, type="process"))
        client.create_deployment(
            client.create_flow(simulated_share),
            "simulated share",
            entrypoint="benchmarks/scaling_flow.py:simulated_share",
            work_pool_name=SHARES,
            path=".",
            pull_steps=[{"flows.deployments.go_to_source": {}}],
        )
