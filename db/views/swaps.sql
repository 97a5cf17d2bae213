CREATE VIEW swaps AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    swap.sample_id, swap.donor_id,
    place.code AS surroundings_code, lesion.code AS lesion_code, swap.probabilities
FROM study_evaluations AS e
JOIN swap ON swap.evaluation_id = e.evaluation_id
JOIN sample AS surroundings ON surroundings.id = swap.sample_id
JOIN label AS place ON place.id = surroundings.label_id
JOIN sample AS donor ON donor.id = swap.donor_id
JOIN label AS lesion ON lesion.id = donor.label_id;
COMMENT ON VIEW swaps IS
'Swap test: class probabilities of one patient''s surroundings with another patient''s lesion';
