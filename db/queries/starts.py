"""Where a run begins that does not begin anew: with a finished run of a study in the record."""

from sqlalchemy import Connection, select, text

from db.studies import RunRow, find_study, run_row, study_row
from db.tables.data import label, sample_set
from db.tables.training import run, study
from lesionlens.config.study import StudyConfig, started_by
from lesionlens.config.training import RunConfig

RUNS = text(
    "SELECT run.digest, run.status, run.seed, study_run.title, selection_losses.selection_loss"
    " FROM study_run JOIN run ON run.id = study_run.run_id"
    " LEFT JOIN selection_losses ON selection_losses.run_id = run.id AND selection_losses.study_id = study_run.study_id"
    " WHERE study_run.study_id = :study AND run.backbone = :backbone AND run.strategy <> 'examined'"
    " AND run.system = 'classifier' ORDER BY run.seed <> :seed, selection_losses.selection_loss, run.id"
)
BACKBONES = text(
    "SELECT DISTINCT run.backbone FROM study_run JOIN run ON run.id = study_run.run_id"
    " WHERE study_run.study_id = :study ORDER BY run.backbone"
)
TRAINED_ON = text(
    "SELECT count(DISTINCT tested.patient) FROM sample AS test"
    " JOIN image AS tested ON tested.id = test.image_id JOIN dataset AS own ON own.id = tested.dataset_id"
    " JOIN dataset AS other ON other.name = own.name"
    " JOIN image AS seen ON seen.dataset_id = other.id AND seen.patient = tested.patient"
    " JOIN sample AS trained ON trained.image_id = seen.id AND trained.split <> 'test'"
    " WHERE test.sample_set_id = :own AND test.split = 'test' AND trained.sample_set_id = :other"
    # whom the own set trains on and tests, its own leak check names: official splits share patients
    " AND NOT EXISTS (SELECT FROM sample AS mine JOIN image AS shown ON shown.id = mine.image_id"
    " WHERE mine.sample_set_id = :own AND mine.split <> 'test' AND shown.patient = tested.patient)"
)

VALIDATED_ON = text(
    "SELECT count(DISTINCT image.patient), count(DISTINCT image.patient) FILTER (WHERE EXISTS ("
    "SELECT FROM run JOIN sample AS trained ON trained.sample_set_id = run.sample_set_id AND trained.split = 'train'"
    " JOIN image AS seen ON seen.id = trained.image_id AND seen.patient = image.patient"
    " JOIN dataset AS other ON other.id = seen.dataset_id AND other.name = dataset.name WHERE run.digest = :begun))"
    " FROM sample JOIN image ON image.id = sample.image_id JOIN dataset ON dataset.id = image.dataset_id"
    " WHERE sample.sample_set_id = :own AND sample.split = 'validation'"
)


def find(connection: Connection, name: str) -> tuple[int, str]:
    """Id and digest of a study by its digest, name or number.

    ValueError where there is none, or several have the name.
    """
    study_id = connection.scalar(select(study.c.id).where(study.c.digest == name))
    try:
        study_id = find_study(connection, name) if study_id is None else int(study_id)
    except ValueError as error:
        raise ValueError(f"training.start: {error}") from None
    return study_id, study_row(connection, study_id).digest


def with_digest(connection: Connection, config: StudyConfig) -> StudyConfig:
    """The configuration with the digest of the study that its runs begin with, by which a study records it.

    ValueError where the record holds no such study.
    """
    start = config.training.start
    return config if start is None else started_by(config, {start: find(connection, start)[1]})


def run_to_start(connection: Connection, name: str, wanted: RunConfig, sample_set_id: int) -> str:
    """Digest of the run of that study which a run of this sample set begins with.

    Of the same backbone and seed, else of the same backbone; the best of several by the loss that their study chooses
    by. ValueError where there is none, one of them is not trained, or it was trained on patients of this test split.
    """
    study_id, _ = find(connection, name)
    before = study_row(connection, study_id)
    rows = connection.execute(RUNS, {"study": study_id, "backbone": wanted.backbone, "seed": wanted.seed}).all()
    rows = [row for row in rows if row.seed == wanted.seed] or list(rows)
    if not rows:
        have = ", ".join(connection.scalars(BACKBONES, {"study": study_id}))
        raise ValueError(f"training.start: study {study_id} ({before.name}) trains {have}, not {wanted.backbone}")
    for row in rows:
        if row.status in ("pending", "running"):
            raise ValueError(
                f"training.start: {row.title} of study {study_id} ({before.name}) is not trained yet: "
                f"lesionlens train {study_id}"
            )
    chosen = rows[0]
    if chosen.status != "finished":
        raise ValueError(f"training.start: {chosen.title} of study {study_id} ({before.name}) failed to train")
    _require_one_scale(connection, sample_set_id, before.sample_set_id, f"study {study_id} ({before.name})")
    seen = connection.scalar(TRAINED_ON, {"own": sample_set_id, "other": before.sample_set_id})
    if seen:
        raise ValueError(
            f"training.start: study {study_id} ({before.name}) trained on {seen} patients of this test split; choose "
            "the same seed and split for both"
        )
    return str(chosen.digest)


def _require_one_scale(connection: Connection, own: int, other: int, name: str) -> None:
    """ValueError where a network of films would start from one that saw lesions at another size."""
    configs = select(sample_set.c.config)
    mine, theirs = (
        connection.execute(configs.where(sample_set.c.id == number)).scalar_one() for number in (own, other)
    )
    if mine.get("unit") not in ("image", "breast"):
        return
    if theirs.get("unit") == "patch" and theirs["patches"]["frame"] == "lesion":
        raise ValueError(
            f"training.start: {name} cuts patches in proportion to the lesion, so its network knows lesions of another "
            "size than on films: prepare it with patches.frame image"
        )
    if theirs["images"] != mine["images"]:
        raise ValueError(f"training.start: {name} has films of another size or fit: choose the same images options")


def validated_on(connection: Connection, digest: str, sample_set_id: int) -> tuple[int, int]:
    """Patients of the sample set's validation split, and how many of them the run of that digest was trained on."""
    count, seen = connection.execute(VALIDATED_ON, {"own": sample_set_id, "begun": digest}).one()
    return int(count), int(seen)


def run_of(connection: Connection, digest: str) -> RunRow | None:
    """The run with this digest, None where the record no longer holds it."""
    found = connection.scalar(select(run.c.id).where(run.c.digest == digest))
    return None if found is None else run_row(connection, int(found))


def patches_behind(connection: Connection, digest: str | None) -> tuple[RunRow, int] | None:
    """The run of patches that the run of this digest is or began with, and the size of its patches; None where there is
    none, or the record no longer holds it.
    """
    found = None if digest is None else run_of(connection, digest)
    if found is None:
        return None
    config = connection.execute(select(sample_set.c.config).where(sample_set.c.id == found.sample_set_id)).scalar_one()
    if config["unit"] == "patch":
        return found, int(config["patches"]["size"])
    return patches_behind(connection, found.training.start)


def classes(connection: Connection, sample_set_id: int, lesions: bool = False) -> tuple[str, ...]:
    """Label codes of a sample set by ordinal; `lesions`: of classes with lesions alone."""
    of_set = label.c.dataset_id == sample_set.c.dataset_id
    rows = select(label.c.code).join(sample_set, of_set).where(sample_set.c.id == sample_set_id)
    rows = rows.where(label.c.is_lesion) if lesions else rows
    return tuple(connection.scalars(rows.order_by(label.c.ordinal)))
