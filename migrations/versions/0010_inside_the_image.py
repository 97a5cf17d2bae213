"""Boxes lie inside their image, whose size is known from its first decoding; views for whatever had only a table."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).resolve().parent.parent / "views" / revision
BEFORE = FOLDER.parent / "0006"
VIEWS = tuple(sorted(path.stem for path in FOLDER.glob("*.sql") if not (BEFORE / path.name).exists()))
REPLACED = ("localization_scores", "occlusion_samples", "roc_curve")
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT SELECT ON {views} TO lesionlens_reader;
    END IF;
END $$
"""

# A check may look at its own row only. An image of an older record has no size: its boxes pass.
INSIDE = """
CREATE FUNCTION patch_inside_image() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    whole record;
BEGIN
    SELECT key, width, height INTO whole FROM image WHERE image.id = NEW.image_id;
    IF greatest(NEW.window_x1, NEW.lesion_x1) > whole.width
        OR greatest(NEW.window_y1, NEW.lesion_y1) > whole.height
    THEN
        RAISE check_violation USING
            MESSAGE = format('patch %s leaves image %s of %s x %s', NEW.key, whole.key, whole.width, whole.height),
            TABLE = 'sample', CONSTRAINT = 'patch_inside_image';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION patch_inside_image() IS 'Refuses a patch whose window or lesion box leaves its image';
CREATE TRIGGER patch_inside_image
AFTER INSERT OR UPDATE OF image_id, window_x1, window_y1, lesion_x1, lesion_y1 ON sample
FOR EACH ROW EXECUTE FUNCTION patch_inside_image();

CREATE FUNCTION image_holds_patches() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    outside text;
BEGIN
    SELECT sample.key INTO outside FROM sample
    WHERE sample.image_id = NEW.id
        AND (greatest(window_x1, lesion_x1) > NEW.width OR greatest(window_y1, lesion_y1) > NEW.height)
    LIMIT 1;
    IF FOUND THEN
        RAISE check_violation USING
            MESSAGE = format('image %s of %s x %s does not hold patch %s', NEW.key, NEW.width, NEW.height, outside),
            TABLE = 'image', CONSTRAINT = 'image_holds_patches';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION image_holds_patches() IS 'Refuses a size of an image that its patches leave';
CREATE TRIGGER image_holds_patches
AFTER UPDATE OF width, height ON image
FOR EACH ROW EXECUTE FUNCTION image_holds_patches();
"""
COMMENTS = {
    "width": "Width in pixels; NULL until it was first decoded",
    "height": "Height in pixels; NULL until it was first decoded",
}
OVERVIEW = {"width": "Width of the full image in pixels", "height": "Height of the full image in pixels"}


def upgrade() -> None:
    for name, comment in COMMENTS.items():
        op.add_column("image", sa.Column(name, sa.Integer(), nullable=True, comment=comment))
    op.create_check_constraint(op.f("ck_image_size"), "image", "width > 0 AND height > 0")
    op.create_check_constraint(op.f("ck_image_whole_size"), "image", "num_nulls(width, height) IN (0, 2)")
    op.execute(
        "UPDATE image SET width = overview.width, height = overview.height"
        " FROM overview WHERE overview.image_id = image.id"
    )
    op.drop_constraint(op.f("ck_overview_size"), "overview")
    for name in OVERVIEW:
        op.drop_column("overview", name)
    op.execute(INSIDE)
    for view in (*VIEWS, *REPLACED):
        op.execute((FOLDER / f"{view}.sql").read_text())
    op.execute(GRANT.format(views=", ".join(VIEWS)))


def downgrade() -> None:
    for view in REPLACED:
        op.execute((BEFORE / f"{view}.sql").read_text().replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    op.execute("DROP TRIGGER patch_inside_image ON sample; DROP FUNCTION patch_inside_image()")
    op.execute("DROP TRIGGER image_holds_patches ON image; DROP FUNCTION image_holds_patches()")
    for name, comment in OVERVIEW.items():
        op.add_column("overview", sa.Column(name, sa.Integer(), nullable=True, comment=comment))
    op.execute(
        "UPDATE overview SET width = image.width, height = image.height FROM image WHERE image.id = overview.image_id"
    )
    for name in OVERVIEW:
        op.alter_column("overview", name, nullable=False)
    op.create_check_constraint(op.f("ck_overview_size"), "overview", "width > 0 AND height > 0")
    op.drop_constraint(op.f("ck_image_whole_size"), "image")
    op.drop_constraint(op.f("ck_image_size"), "image")
    for name in reversed(COMMENTS):
        op.drop_column("image", name)
