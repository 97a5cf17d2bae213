CREATE VIEW occlusion_test AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    lesion_drop.population, lesion_drop.group_name, lesion_drop.n, lesion_drop.value AS lesion_drop,
    lesion_drop.low AS lesion_drop_low, lesion_drop.high AS lesion_drop_high, control_drop.value AS control_drop,
    control_drop.low AS control_drop_low, control_drop.high AS control_drop_high, difference.value AS difference,
    difference.low AS difference_low, difference.high AS difference_high, lesion_drop.reason
FROM study_evaluations AS e
JOIN run_score AS lesion_drop
    ON lesion_drop.evaluation_id = e.evaluation_id AND lesion_drop.name = 'occlusion_lesion_drop'
LEFT JOIN run_score AS control_drop
    ON control_drop.evaluation_id = e.evaluation_id AND control_drop.name = 'occlusion_control_drop'
    AND control_drop.population = lesion_drop.population AND control_drop.group_name = lesion_drop.group_name
LEFT JOIN run_score AS difference
    ON difference.evaluation_id = e.evaluation_id AND difference.name = 'occlusion_difference'
    AND difference.population = lesion_drop.population AND difference.group_name = lesion_drop.group_name;
COMMENT ON VIEW occlusion_test IS
'Occlusion test: mean loss of probability with the lesion inpainted, and with a control region';
