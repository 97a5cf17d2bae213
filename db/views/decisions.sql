CREATE VIEW decisions AS
SELECT
    cell.study_id, cell.study, cell.backbone, cell.strategy, cell.batch_size, cell.head_rate, cell.unit1_rate,
    cell.guidance, cell.selected, decision.seeds, decision.question, decision.group_name, decision.variant,
    decision.measure, decision.value, decision.low, decision.high, decision.lesions, decision.patients, decision.reason
FROM selected_cells AS cell
JOIN decision
    ON decision.study_id = cell.study_id AND decision.backbone = cell.backbone
    AND decision.strategy = cell.strategy AND decision.batch_size IS NOT DISTINCT FROM cell.batch_size
    AND decision.head_rate IS NOT DISTINCT FROM cell.head_rate
    AND decision.unit1_rate IS NOT DISTINCT FROM cell.unit1_rate
    AND decision.guidance = cell.guidance;
COMMENT ON VIEW decisions IS
'What the answer rests on: each measure of a cell, mean over its seeds, for all groups (NULL) and each of them';
