"""The whole study and its steps: demo, study, prepare, train, evaluate, report."""

import json
from collections.abc import Sequence
from pathlib import Path

from commands.configuration import SOUND, Wanted
from commands.services import run_flow, say
from lesionlens.config.presets import demo_systems
from lesionlens.config.study import StudyConfig, measured_step, started_by
from lesionlens.settings import home


def demo(*, systems: bool = False, dry_run: bool = False) -> None:
    """The whole study on synthetic mammograms, in minutes.

    Args:
        systems: Instead ask the same runs by every attribution method, and train a case-based model beside a black box
            and a detector, in studies of their own.
        dry_run: Say what would be done, and do nothing.
    """
    if systems:
        _run(demo_systems(), dry_run)
    else:
        _study(Wanted(preset="demo"), dry_run)


def study(*, wanted: Wanted = SOUND, dry_run: bool = False) -> None:
    """The whole study on a data set: prepare, train, evaluate, report.

    What the record holds is not done again; a study that was stopped goes on where it stood.

    For example:

        lesionlens study --data /films
        lesionlens study --data /films --set training.weights=none
        lesionlens study --data /films --set grid.backbones=resnet18,resnet34
        lesionlens study --preset small --data /films --name "my films" --dry-run

    Args:
        dry_run: Say what would be done, how long it takes and what is missing, and do nothing.
    """
    _study(wanted, dry_run)


def _study(wanted: Wanted, dry_run: bool) -> None:
    from commands import data

    if dry_run:
        for config in wanted.studies():
            data.rehearse(config, wanted.leaves_size_open())
    else:
        _run(data.settled(wanted))


def _run(configs: Sequence[StudyConfig], dry_run: bool = False) -> None:
    from commands import data

    if dry_run:
        for config in configs:
            data.rehearse(config)
        return
    home().ensure()
    say("Looking at the data and the record ...")
    known = _complete(configs)
    if len(known) == len(configs):
        for (number, page), config in zip(known, configs, strict=True):
            print(
                f"Study {number} ({config.name}) is complete: nothing to do. To render it: lesionlens report {number}"
                f"\n\nReport: {page}"
            )
    else:
        several = len(configs) > 1
        pages = run_flow("flows.study", *(("studies", tuple(configs)) if several else ("study", configs[0])))
        for page in pages if several else [pages]:
            print(f"\nReport: {page}")
    print("Query:  lesionlens sql   (for example: TABLE table_2_accuracy; TABLE table_4_localization;)")


def _complete(configs: Sequence[StudyConfig]) -> "list[tuple[int, Path]]":
    """Number and page of each study of which the record holds all, up to the first of which it does not."""
    found, digests = list[tuple[int, Path]](), dict[str, str]()
    for config in configs:
        known = _finished(started_by(config, digests))
        if known is None:
            break
        number, page, digests[config.name] = known
        found.append((number, page))
    return found


def _finished(config: StudyConfig) -> "tuple[int, Path, str] | None":
    """Number, page and digest of the study, where the record holds all of it and the page is there; found without
    Prefect.
    """
    from db import datasets
    from db.engine import make_engine
    from db.queries import catalogue, starts
    from lesionlens.config.study import evaluation_digest, sample_set_digest, study_digest
    from lesionlens.datasets.registry import PHANTOM, read_index
    from lesionlens.identity import digest

    root = config.data.root or home().phantom / digest(config.data.phantom)[:16]
    if config.data.source == "phantom" and not (root / PHANTOM).is_file():
        return None
    if config.training.precision == "auto":
        taken = _taken(config)
        if taken is None:
            return None
        config = config.model_copy(update={"training": config.training.model_copy(update={"precision": taken})})
    identity = sample_set_digest(config, read_index(config.data, root).digest)
    with make_engine().connect() as connection:
        samples = datasets.find_sample_set(connection, identity)
        if samples is None:
            return None
        try:
            config = starts.with_digest(connection, config)
        except ValueError:
            return None
        study = study_digest(config, datasets.sample_set_digest(connection, samples))
        found = catalogue.finished(connection, study, evaluation_digest(config))
    return (found[0], Path(found[1]), study) if found and Path(found[1]).is_file() else None


def _taken(config: StudyConfig) -> str | None:
    """The precision that `auto` took in this home, where it did so once; on another machine it may take another."""
    path, step = home().precision, measured_step(config)
    known = json.loads(path.read_text()).values() if path.is_file() else ()
    taken = [each["taken"] for each in known if step.items() <= each.items()]
    return taken[0] if len(taken) == 1 else None


def prepare(*, wanted: Wanted = SOUND, dry_run: bool = False) -> None:
    """Cut, split and check the samples of a study, and plan its runs.

    Prints the study's number, which the later steps ask for.

    For example:

        lesionlens prepare --data /films --name films

    Args:
        dry_run: Say what would be done, and do nothing.
    """
    from commands import data

    if dry_run:
        data.rehearse(wanted.study(), wanted.leaves_size_open())
        return
    wanted.study()  # of a preset of several, the later ones have nothing to start from yet
    (config,) = data.settled(wanted)
    number = run_flow("flows.steps", "prepare", config)
    print(f"\nStudy {number} ({config.name}) is prepared. Next: lesionlens train {number}")


def train(study: str, /, *, dry_run: bool = False) -> None:
    """Train the runs of a prepared study that are not trained yet.

    Args:
        study: The study's number or name (lesionlens list).
        dry_run: Name the runs, and do nothing.
    """
    number = _number(study)
    if dry_run:
        _name_runs("train", number)
        return
    failed = run_flow("flows.steps", "train", number)
    print(
        f"\nStudy {number} is trained{f', {failed} runs failed' if failed else ''}. Next: lesionlens evaluate {number}"
    )


def evaluate(
    study: str | None = None, /, *, run: int | None = None, data: Path | None = None, dry_run: bool = False
) -> None:
    """Evaluate the trained runs of a study, or one run on other data.

    For example:

        lesionlens evaluate demo
        lesionlens evaluate --run 7 --data /other/set

    Args:
        study: The study's number or name (lesionlens list).
        run: A finished run to evaluate on other data; thresholds, statistics and classes stay its study's.
        data: Folder of the other data set; all of it is test.
        dry_run: Name the runs, and do nothing.
    """
    if (run is None) != (data is None) or (study is None) == (run is None):
        raise ValueError("name a study, or a run and other data: lesionlens evaluate STUDY, or --run RUN --data FOLDER")
    if run is not None and data is not None:
        if dry_run:
            _refuse_unknown_data(data)
            print(f"Run {run} would be evaluated on all of {data}, unless the record holds that already.")
            return
        page = run_flow("flows.steps", "evaluate_external", run, data.resolve())
        print(f"\nReport: {page}\nQuery:  lesionlens sql   (for example: TABLE external;)")
        return
    number = _number(str(study))
    if dry_run:
        _name_runs("evaluate", number)
        return
    missing = run_flow("flows.steps", "evaluate", number)
    print(f"\nStudy {number}: {missing} evaluations were missing. Next: lesionlens report {number}")


def report(study: str, /, *, dry_run: bool = False) -> None:
    """Render the page of a study, with tables and figures beside it.

    Args:
        study: The study's number or name (lesionlens list).
        dry_run: Say what would be written, and write nothing.
    """
    number = _number(study)
    if dry_run:
        print(f"The page of study {number} would be written into {home().reports}.")
        return
    print(f"\nReport: {run_flow('flows.steps', 'report', number)}")


def _number(study: str) -> int:
    """A study's number, by number or name. ValueError where the record holds no such study."""
    from db.engine import make_engine
    from db.studies import find_study

    with make_engine().connect() as connection:
        return find_study(connection, study)


def _name_runs(step: str, study_id: int) -> None:
    from db.engine import make_engine
    from db.queries import work

    with make_engine().connect() as connection:
        asked = work.runs_to_train if step == "train" else work.runs_to_evaluate
        runs = asked(connection, study_id)
    print(f"{len(runs)} runs of study {study_id} to {step}{':' if runs else ''}")
    for number, title in runs:
        print(f"  {number}  {title}")


def _refuse_unknown_data(folder: Path) -> None:
    from lesionlens.datasets.registry import recognise

    say(f"{folder} holds a data set: {recognise(folder)}")
