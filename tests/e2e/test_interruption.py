"""Killed at any moment and started again, a study ends in the numbers of an undisturbed one."""

import random
import signal
import time
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NUMBERS = {
    "patches": "SELECT key, part, md5(pixels), mask_fraction FROM patch ORDER BY key",
    "epochs": "SELECT digest, epoch, phase, train_loss, validation_loss, improved FROM epoch"
    " JOIN run ON run.id = run_id ORDER BY digest, epoch",
    "checkpoints": "SELECT digest, role, epoch FROM checkpoint JOIN run ON run.id = run_id ORDER BY digest, role",
    "samples": "SELECT run.digest, patch_key, predicted_code, confidence, iou, hit, energy, random_weights_iou"
    " FROM sample_results JOIN run ON run.id = run_id ORDER BY run.digest, patch_key",
    "scores": "SELECT run.digest, name, method, target, policy, population, group_name, value, low, high FROM run_score"
    " JOIN evaluation ON evaluation.id = evaluation_id JOIN run ON run.id = run_id"
    " ORDER BY 1, 2, 3, 4, 5, 6, 7",
    "comparisons": "SELECT a.digest, b.digest, score, difference, p_holm FROM comparison"
    " JOIN evaluation AS ea ON ea.id = evaluation_a JOIN run AS a ON a.id = ea.run_id"
    " JOIN evaluation AS eb ON eb.id = evaluation_b JOIN run AS b ON b.id = eb.run_id ORDER BY 1, 2, 3",
}  # fmt: skip


def numbers(home: Any) -> dict[str, list[tuple[str, ...]]]:
    return {name: home.sql(query).rows() for name, query in NUMBERS.items()}


def test_five_kills_change_no_number(finished: Any, new_home: Any, kill_group: Any) -> None:
    home = new_home()
    moments = random.Random(2024)
    for lower in (2, 12, 16, 20, 24):
        process = home.start()
        time.sleep(moments.uniform(lower, lower + 4))
        kill_group(process)
    done = home.study()
    assert done.returncode == 0, done.stderr[-4000:]
    undisturbed, resumed = numbers(finished), numbers(home)
    for name in NUMBERS:
        assert undisturbed[name], name
        assert resumed[name] == undisturbed[name], name


def test_an_interrupt_says_how_to_go_on(new_home: Any) -> None:
    home = new_home()
    process = home.start(capture=True)
    time.sleep(15)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command goes on from here" in errors
