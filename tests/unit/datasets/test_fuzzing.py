"""Whatever a mask, a table, a name or a COCO file is, it ends in a reading, a recorded reason or one clear line."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.datasets.fuzzing import KINDS

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_ends_in_a_traceback(kind: str) -> None:
    strategy, outcome = KINDS[kind]
    outcomes: list[str] = []

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(strategy)
    def tried(example: object) -> None:
        outcomes.append(outcome(example))

    tried()
    assert len(outcomes) >= 100 and len(set(outcomes)) > 1 and set(outcomes) <= {"read", "reason", "line"}
