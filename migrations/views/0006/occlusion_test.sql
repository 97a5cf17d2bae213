CREATE VIEW occlusion_test AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    lesion_drop.population,
    lesion_drop.group_name,
    lesion_drop.n,
    lesion_drop.value AS lesion_drop,
    lesion_drop.low AS lesion_drop_low,
    lesion_drop.high AS lesion_drop_high,
    control_drop.value AS control_drop,
    control_drop.low AS control_drop_low,
    control_drop.high AS control_drop_high,
    difference.value AS difference,
    difference.low AS difference_low,
    difference.high AS difference_high,
    lesion_drop.reason
FROM study_evaluations AS e
JOIN run_score AS lesion_drop
    ON lesion_drop.evaluation_id = e.evaluation_id AND lesion_drop.name = 'erase_lesion_drop'
LEFT JOIN run_score AS control_drop
    ON control_drop.evaluation_id = e.evaluation_id AND control_drop.name = 'erase_control_drop'
    AND control_drop.population = lesion_drop.population AND control_drop.group_name = lesion_drop.group_name
LEFT JOIN run_score AS difference
    ON difference.evaluation_id = e.evaluation_id AND difference.name = 'erase_difference'
    AND difference.population = lesion_drop.population AND difference.group_name = lesion_drop.group_name;
COMMENT ON VIEW occlusion_test IS
'Erase test: what the predicted class''s probability loses without the lesion, and without as much background';
COMMENT ON COLUMN occlusion_test.study_id IS 'Number of the study';
COMMENT ON COLUMN occlusion_test.study IS 'Name of the study';
COMMENT ON COLUMN occlusion_test.run_id IS 'Number of the run';
COMMENT ON COLUMN occlusion_test.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN occlusion_test.backbone IS 'Network';
COMMENT ON COLUMN occlusion_test.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN occlusion_test.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN occlusion_test.population IS 'correct_lesions or lesions';
COMMENT ON COLUMN occlusion_test.group_name IS 'all, or one label group';
COMMENT ON COLUMN occlusion_test.n IS 'Lesions in the means: those with room for a control';
COMMENT ON COLUMN occlusion_test.lesion_drop IS 'Mean loss of probability when the lesion is inpainted, -1 to 1';
COMMENT ON COLUMN occlusion_test.lesion_drop_low IS 'Lower end of its interval';
COMMENT ON COLUMN occlusion_test.lesion_drop_high IS 'Upper end of its interval';
COMMENT ON COLUMN occlusion_test.control_drop IS 'Mean loss when the same shape is inpainted beside the lesion';
COMMENT ON COLUMN occlusion_test.control_drop_low IS 'Lower end of its interval';
COMMENT ON COLUMN occlusion_test.control_drop_high IS 'Upper end of its interval';
COMMENT ON COLUMN occlusion_test.difference IS 'Mean of lesion_drop - control_drop, paired by patch: above 0, the lesion matters';
COMMENT ON COLUMN occlusion_test.difference_low IS 'Lower end of its interval';
COMMENT ON COLUMN occlusion_test.difference_high IS 'Upper end of its interval';
COMMENT ON COLUMN occlusion_test.reason IS 'Why the means are NULL';
