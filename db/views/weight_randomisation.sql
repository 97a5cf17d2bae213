CREATE VIEW weight_randomisation AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    randomisation.step, randomisation.layer, randomisation.ssim, randomisation.ssim_low, randomisation.ssim_high,
    chance.ssim AS ssim_chance, randomisation.rank_correlation, randomisation.rank_low, randomisation.rank_high,
    chance.rank_correlation AS rank_chance, randomisation.n
FROM study_evaluations AS e
JOIN randomisation ON randomisation.evaluation_id = e.evaluation_id AND randomisation.step >= 0
LEFT JOIN randomisation AS chance ON chance.evaluation_id = e.evaluation_id AND chance.step = -1;
COMMENT ON VIEW weight_randomisation IS
'Similarity of Grad-CAM maps to the intact model''s while weights become random, layer by layer from the output';
