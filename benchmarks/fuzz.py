"""What becomes of masks, tables, names of files and COCO files that nobody would write, by thousands.

    python -m benchmarks.fuzz             2,000 of each kind, about five minutes on one core
    python -m benchmarks.fuzz --most 100

Each ends as a reading, recorded reasons or one clear line; anything else stops this command with the smallest example
that hypothesis finds. Run after a change of `datasets`, `images` or `samples`.
"""

import argparse
import logging
import os
import time
import warnings
from collections import Counter

from hypothesis import HealthCheck, given, settings

from tests.unit.datasets.fuzzing import KINDS


def outcomes(kind: str, most: int) -> Counter[str]:
    """How many examples of a kind ended in which way."""
    strategy, outcome = KINDS[kind]
    found: Counter[str] = Counter()

    @settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(strategy)
    def tried(example: object) -> None:
        found[outcome(example)] += 1

    tried()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=2000, help="examples of each kind")
    most = parser.parse_args().most
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["LESIONLENS_WORKERS"] = "1"
    print("| kind | examples | read | reasons | one line | seconds |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        start = time.perf_counter()
        found = outcomes(kind, most)
        seconds = time.perf_counter() - start
        counts = " | ".join(f"{found[end]:,}" for end in ("read", "reason", "line"))
        print(f"| {kind} | {found.total():,} | {counts} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
