CREATE VIEW weight_randomisation AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    randomisation.step,
    randomisation.layer,
    randomisation.ssim,
    randomisation.ssim_low,
    randomisation.ssim_high,
    chance.ssim AS ssim_chance,
    randomisation.rank_correlation,
    randomisation.rank_low,
    randomisation.rank_high,
    chance.rank_correlation AS rank_chance,
    randomisation.n
FROM study_evaluations AS e
JOIN randomisation ON randomisation.evaluation_id = e.evaluation_id AND randomisation.step >= 0
LEFT JOIN randomisation AS chance ON chance.evaluation_id = e.evaluation_id AND chance.step = -1;
COMMENT ON VIEW weight_randomisation IS
'Similarity of Grad-CAM maps to the intact model''s while weights become random, layer by layer from the output';
COMMENT ON COLUMN weight_randomisation.study_id IS 'Number of the study';
COMMENT ON COLUMN weight_randomisation.study IS 'Name of the study';
COMMENT ON COLUMN weight_randomisation.run_id IS 'Number of the run';
COMMENT ON COLUMN weight_randomisation.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN weight_randomisation.backbone IS 'Network';
COMMENT ON COLUMN weight_randomisation.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN weight_randomisation.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN weight_randomisation.step IS 'Layers made random; 0 is the intact model';
COMMENT ON COLUMN weight_randomisation.layer IS 'Layer made random last';
COMMENT ON COLUMN weight_randomisation.ssim IS 'Mean structural similarity of activation maps, -1 to 1';
COMMENT ON COLUMN weight_randomisation.ssim_low IS 'Lower end of its interval';
COMMENT ON COLUMN weight_randomisation.ssim_high IS 'Upper end of its interval';
COMMENT ON COLUMN weight_randomisation.ssim_chance IS 'That of maps of different samples, the level of chance';
COMMENT ON COLUMN weight_randomisation.rank_correlation IS 'Mean Spearman correlation of grids';
COMMENT ON COLUMN weight_randomisation.rank_low IS 'Lower end of its interval';
COMMENT ON COLUMN weight_randomisation.rank_high IS 'Upper end of its interval';
COMMENT ON COLUMN weight_randomisation.rank_chance IS 'That of grids of different samples';
COMMENT ON COLUMN weight_randomisation.n IS 'Samples whose maps are both not blank';
