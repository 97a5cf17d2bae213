"""What a report shows of a study, as SQL: the text that runs here is the text that a page shows below its tables."""

from typing import LiteralString

BASELINES: LiteralString = """\
whole_patch, whole_patch_low, whole_patch_high, centred_disc, centred_disc_low, centred_disc_high,
       mean_mask, mean_mask_low, mean_mask_high, random_weights, random_weights_low, random_weights_high,
       dealt_maps, dealt_maps_low, dealt_maps_high"""

STUDY: LiteralString = """\
SELECT study_id AS id, study AS name, kind, digest, config, versions, created_at,
       dataset AS dataset_name, dataset_kind, dataset_digest, sample_set_digest
FROM studies WHERE study_id = {study}"""

# by name of the frame: of views alone, so that the role lesionlens_reader can run what the page shows
SHOWN: dict[str, LiteralString] = {
    "labels": """\
SELECT code, name, group_name, ordinal, is_lesion FROM classes WHERE study_id = {study} ORDER BY ordinal""",
    "table_1_patches": """\
SELECT ordinal, code, label, train, validation, train_and_validation, test
FROM table_1_patches WHERE study_id = {study} ORDER BY ordinal""",
    "table_2_accuracy": """\
SELECT run_id, backbone, strategy, batch_size, unit1_rate, guidance, seed, accuracy, low, high, n,
       best_epoch, epochs, validation_loss
FROM table_2_accuracy WHERE study_id = {study} ORDER BY run_id""",
    "table_3_auc": """\
SELECT run_id, backbone, strategy, ordinal, code, auc, auc_low, auc_high, auc_hard, auc_hard_low, auc_hard_high
FROM table_3_auc WHERE study_id = {study} ORDER BY run_id, ordinal""",
    "table_4_localization": """\
SELECT run_id, backbone, strategy, method, target, policy, headline, ll, low, high, n, reason,
       map_rows, map_cols, ceiling, ceiling_low, ceiling_high,
       accuracy, accuracy_low, accuracy_high, accuracy_x_ll, accuracy_x_ll_low, accuracy_x_ll_high,
       {baselines}
FROM table_4_localization WHERE study_id = {study} ORDER BY run_id, headline DESC, method, target, policy""",
    "localization_scores": """\
SELECT run_id, population, group_name, ll, low, high, n, map_rows, map_cols,
       ceiling, ceiling_low, ceiling_high, ceiling_share,
       {baselines}
FROM localization_scores WHERE study_id = {study} AND headline ORDER BY run_id, population, group_name""",
    "baseline_differences": """\
SELECT run_id, group_name, baseline, difference, low, high, n
FROM baseline_differences WHERE study_id = {study} AND headline AND population = 'correct_lesions'
ORDER BY run_id, group_name, baseline""",
    "answers": """\
SELECT run_id, question, group_name, verdict, measure, number, low, high, n, n_patients, reasons, sentence
FROM answers WHERE study_id = {study} ORDER BY question, group_name NULLS FIRST""",
    "hit_rates": """\
SELECT run_id, population, group_name, value, low, high, n
FROM run_scores JOIN studies USING (study_id)
WHERE study_id = {study} AND score = 'hit_rate' AND population = 'correct_lesions' AND target = 'predicted'
  AND method = config #>> '{{evaluation,methods,0}}'
ORDER BY run_id, group_name""",
    "decisions": """\
SELECT backbone, strategy, batch_size, head_rate, unit1_rate, guidance, seeds, question, group_name, variant,
       measure, value, low, high, lesions, patients
FROM decisions WHERE study_id = {study} AND selected ORDER BY question, group_name NULLS FIRST, variant, measure""",
    "guidance": """\
SELECT backbone, strategy, batch_size, head_rate, unit1_rate, guidance, seeds, question, variant, measure,
       value, low, high, lesions, patients
FROM decisions
WHERE study_id = {study} AND group_name IS NULL
  AND (question = 'guidance' OR question <> 'class' AND variant IN ('smooth', 'swap')
       AND measure IN ('auc_intact', 'auc_lesion', 'auc_fall', 'fall', 'swap_lesion_auc', 'swap_surroundings_auc'))
  AND EXISTS (SELECT FROM runs WHERE runs.study_id = {study} AND runs.guidance <> 'none')
ORDER BY backbone, strategy, batch_size, head_rate, unit1_rate, guidance, question, variant, measure""",
    "threshold_free_scores": """\
SELECT run_id, method, target, population, score, value, low, high, n
FROM run_scores
WHERE study_id = {study} AND score IN (
    'hit_rate', 'energy', 'lift', 'rank_accuracy', 'pixel_ap', 'deletion_gain', 'insertion_gain')
  AND population IN ('lesions', 'correct_lesions', 'drawn_lesions') AND group_name = 'all'
ORDER BY run_id, method, target, population, score""",
    "confusion_matrix": """\
SELECT run_id, true_ordinal, true_code, predicted_ordinal, predicted_code, count, row_fraction, low, high
FROM confusion_matrix WHERE study_id = {study} ORDER BY run_id, true_ordinal, predicted_ordinal""",
    "class_scores": """\
SELECT run_id, ordinal, code, precision, precision_low, precision_high, recall, recall_low, recall_high,
       f1, f1_low, f1_high, support
FROM class_scores WHERE study_id = {study} ORDER BY run_id, ordinal""",
    "average_scores": """\
SELECT run_id, split_part(score, '_', 1) AS average, split_part(score, '_', 2) AS score, value, low, high
FROM run_scores
WHERE study_id = {study} AND score ~ '^(macro|weighted)_(precision|recall|f1)$' AND group_name = 'all'
ORDER BY run_id, average, score""",
    "binary_scores": """\
SELECT run_id, side, score, value, low, high, n
FROM binary_scores WHERE study_id = {study} ORDER BY run_id, side, score""",
    "operating_points": """\
SELECT run_id, question, level, measure, at, threshold, value, low, high, n, reason
FROM operating_points WHERE study_id = {study}
ORDER BY run_id, question, array_position(ARRAY['lesion', 'breast', 'patient'], level), measure, at""",
    "breast_scores": """\
SELECT run_id, patient, laterality, label, score
FROM breast_scores WHERE study_id = {study} ORDER BY run_id, patient, laterality""",
    "transfer": """\
SELECT run_id, start_run_id, start_study, start_ll, start_ll_low, start_ll_high, auc, auc_low, auc_high,
       lift, lift_low, lift_high
FROM transfer WHERE study_id = {study} ORDER BY run_id""",
    "transfer_correlations": """\
SELECT measure, rank_correlation, low, high, n FROM transfer_correlations
WHERE EXISTS (SELECT FROM transfer WHERE study_id = {study}) ORDER BY measure""",
    "detections": """\
SELECT run_id, method, measure, criterion, group_name, false_marks, value, low, high, n, reason
FROM detection_scores WHERE study_id = {study}
ORDER BY run_id, method = 'bright_blob', method, measure, criterion, group_name <> 'all', group_name, false_marks""",
    "comparison": """\
SELECT run_a, run_b, score, difference, low, high, p_holm, n, seeds, lowest, highest
FROM model_comparisons WHERE study_id = {study} ORDER BY score, run_a, run_b""",
    "seed_spread": """\
SELECT backbone, strategy, batch_size, head_rate, unit1_rate, guidance, name, method, policy, seeds,
       mean, lowest, highest
FROM seed_spread
WHERE study_id = {study} AND seeds > 1 AND group_name = 'all'
  AND (name = 'accuracy' AND population = 'all'
       OR name = 'll' AND population = 'correct_lesions' AND target = 'predicted')
ORDER BY backbone, strategy, batch_size, head_rate, unit1_rate, guidance, name, method, policy""",
    "selected_runs": """\
SELECT run_id, validation_loss FROM selected_runs WHERE study_id = {study} ORDER BY run_id""",
    "runs": """\
SELECT run_id, evaluation_id, backbone, strategy, batch_size, unit1_rate, guidance, seed, status, best_epoch,
       coalesce(reason, evaluation_reason) AS reason, device, epochs,
       extract(epoch FROM finished_at - started_at)::double precision AS seconds, evaluation_seconds, digest
FROM runs WHERE study_id = {study} ORDER BY run_id""",
    "epochs": """\
SELECT run_id, epoch, phase, train_loss, validation_loss, validation_accuracy, validation_froc, seconds,
       rates ? 'pool.vectors' AS compares, rates ? 'head' AS weighs
FROM learning_curves WHERE study_id = {study} ORDER BY run_id, epoch""",
    "iou_curves": """\
SELECT run_id, method, target, threshold, iou, low, high, n
FROM iou_curves WHERE study_id = {study} AND population = 'correct_lesions' AND group_name = 'all'
ORDER BY run_id, method, target, threshold""",
    "roc_curve": """\
SELECT run_id, ordinal, code, threshold, false_positive_rate, true_positive_rate
FROM roc_curve WHERE study_id = {study} ORDER BY run_id, ordinal, threshold DESC""",
    "reliability_curve": """\
SELECT run_id, bin, confidence, accuracy, low, high, n
FROM reliability_curve WHERE study_id = {study} ORDER BY run_id, bin""",
    "calibration": """\
SELECT run_id, calibration_error, low, high FROM calibration WHERE study_id = {study} ORDER BY run_id""",
    "quadrants": """\
SELECT run_id, ordinal, code, correct, located, n, lesions, proportion, low, high
FROM quadrants WHERE study_id = {study} ORDER BY run_id, ordinal, correct DESC, located DESC""",
    "occlusion_test": """\
SELECT run_id, population, group_name, n, lesion_drop, lesion_drop_low, lesion_drop_high,
       control_drop, control_drop_low, control_drop_high, difference, difference_low, difference_high
FROM occlusion_test WHERE study_id = {study} AND population = 'correct_lesions' ORDER BY run_id, group_name""",
    "occlusion_fairness": """\
SELECT run_id, coalesce(group_name, 'all') AS group_name, count(*) AS lesions,
       count(*) FILTER (WHERE reason = 'no_fair_control') AS unfair,
       avg(lesion_change) FILTER (WHERE control_change IS NOT NULL) AS lesion_change,
       avg(control_change) AS control_change
FROM occlusion_samples WHERE study_id = {study} AND variant = 'smooth' AND correct
GROUP BY run_id, GROUPING SETS ((group_name), ()) ORDER BY run_id, group_name""",
    "activation_precisions": """\
SELECT run_id, method, ordinal, code, value, low, high, share, difference, difference_low, difference_high, n,
       FALSE AS black_box
FROM activation_precisions WHERE study_id = {study}
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (r.run_id, a.method, a.ordinal)
           r.run_id, a.method, a.ordinal, a.code, a.value, a.low, a.high, a.share, a.difference, a.difference_low,
           a.difference_high, a.n, TRUE AS black_box
    FROM runs AS r JOIN runs AS b ON b.digest = r.training_config ->> 'start'
    JOIN activation_precisions AS a ON a.study_id = b.study_id AND a.run_id = b.run_id
    WHERE r.study_id = {study} ORDER BY r.run_id, a.method, a.ordinal, a.study_id DESC) AS begun
ORDER BY run_id, black_box, method, ordinal NULLS FIRST""",
    "black_boxes": """\
SELECT DISTINCT ON (own.run_id) own.run_id, own.accuracy, own.low, own.high, own.n, b.title, other.accuracy AS other,
       other.low AS other_low, other.high AS other_high, other.n AS other_n
FROM table_2_accuracy AS own
JOIN runs AS r ON r.study_id = own.study_id AND r.run_id = own.run_id AND r.system = 'prototype'
JOIN runs AS b ON b.digest = r.training_config ->> 'start'
JOIN table_2_accuracy AS other ON other.study_id = b.study_id AND other.run_id = b.run_id
WHERE own.study_id = {study} ORDER BY own.run_id, b.study_id DESC""",
    "prototypes": """\
SELECT run_id, number, ordinal, code, kept, source_key, patient, "row", col, rows, cols, weight, weights, purity,
       coverage, value, low, high, share, n
FROM prototypes WHERE study_id = {study} ORDER BY run_id, number""",
    "explained_inside": """\
SELECT run_id, population, value, low, high, n FROM run_scores
WHERE study_id = {study} AND score = 'explained_inside' AND group_name = 'all' ORDER BY run_id, population""",
    "prototype_matches": """\
SELECT run_id, sample_key, number, "row", col, similarity, points
FROM prototype_matches WHERE study_id = {study} ORDER BY run_id, sample_key, number""",
    "weight_randomisation": """\
SELECT run_id, step, layer, ssim, ssim_low, ssim_high, ssim_chance,
       rank_correlation, rank_low, rank_high, rank_chance, n
FROM weight_randomisation WHERE study_id = {study} ORDER BY run_id, step""",
    "shortcut_audit": """\
SELECT features, question, accuracy, auc, low, high, n
FROM shortcut_audit WHERE study_id = {study} ORDER BY question, accuracy, auc, features""",
    "subgroup_scores": """\
SELECT run_id, subgroup, level, name, population, value, low, high, n,
       {baselines}
FROM subgroup_scores WHERE study_id = {study} AND population IN ('all', 'correct_lesions')
ORDER BY run_id, subgroup, level, name, population""",
    "flow_counts": """\
SELECT stage, split, reason, patients, images, lesions, samples
FROM flow_counts WHERE study_id = {study}
ORDER BY array_position(ARRAY['listed', 'excluded', 'included'], stage),
         array_position(ARRAY['train', 'validation', 'test'], split), lesions DESC, reason""",
    "test_uses": """\
SELECT test_digest, runs, evaluations, studies FROM test_uses WHERE study_id = {study}""",
    "checkpoints": """\
SELECT run_id, epoch, sha256, bytes FROM checkpoints WHERE study_id = {study} AND role = 'best' ORDER BY run_id""",
    "external": """\
SELECT run_id, other_id, other_dataset, is_external, shared_images, shared_patients, left_out, missing_classes, measure,
       internal, internal_low, internal_high, internal_n, internal_patients,
       external, external_low, external_high, external_n, external_patients,
       difference, difference_low, difference_high
FROM external WHERE study_id = {study} ORDER BY other_id, measure""",
    "exclusion_reasons": """\
SELECT reason, lesions, images FROM exclusion_reasons WHERE study_id = {study} ORDER BY lesions DESC, reason""",
    "exclusions": """\
SELECT image_key, lesion_key, reason, detail
FROM exclusions WHERE study_id = {study} ORDER BY reason, image_key, lesion_key""",
    "split_check": """\
SELECT entity, split_a, split_b, shared
FROM leak_checks WHERE study_id = {study} ORDER BY entity DESC, split_a, split_b DESC""",
    "official_overlap": """\
SELECT entity, shared FROM official_overlap WHERE study_id = {study} ORDER BY entity DESC""",
    "normalisation": """\
SELECT code, mean, std FROM input_statistics WHERE study_id = {study} ORDER BY code NULLS FIRST""",
    "sample_results": """\
SELECT run_id, sample_id, sample_key, image_key, patient, laterality, view, lesion_key, breast_density, subtlety,
       true_code, predicted_code, correct, confidence, mask_fraction,
       method, threshold, iou, blank, hit, whole_patch_iou
FROM sample_results
WHERE study_id = {study} ORDER BY run_id, sample_id""",
}

# pixels, masks and maps of the gallery and the contact sheet
PICTURES: dict[str, LiteralString] = {
    "gallery": """\
SELECT p.id AS sample_id, p.pixels, p.mask, t.height, t.width, t.scale, l.lesion_type, l.pathology
FROM study AS s JOIN sample_set AS t ON t.id = s.sample_set_id
JOIN sample AS p ON p.sample_set_id = t.id AND p.split = 'test'
LEFT JOIN lesion AS l ON l.id = p.lesion_id
WHERE s.id = {study} ORDER BY p.id""",
    "maps": """\
SELECT e.run_id, x.sample_id, x.method, x.target, x.rows, x.cols, x.grid
FROM study_evaluations AS e JOIN evaluation AS v ON v.id = e.evaluation_id
JOIN activation_map AS x ON x.evaluation_id = e.evaluation_id AND x.method = v.config #>> '{{methods,0}}'
WHERE e.study_id = {study} AND x.target = 'predicted' ORDER BY e.run_id, x.sample_id""",
    "method_maps": """\
SELECT e.run_id, x.sample_id, x.method, x.rows, x.cols, x.grid, x.hit, p.threshold, p.iou
FROM study_evaluations AS e JOIN evaluation AS v ON v.id = e.evaluation_id
CROSS JOIN LATERAL jsonb_array_elements_text(v.config -> 'methods') WITH ORDINALITY AS m (method, place)
JOIN activation_map AS x ON x.evaluation_id = v.id AND x.method = m.method AND x.target = 'predicted'
LEFT JOIN localization AS p ON p.evaluation_id = v.id AND p.sample_id = x.sample_id AND p.method = x.method
    AND p.target = x.target AND p.policy = v.config ->> 'policy'
WHERE e.study_id = {study} AND m.place > 1 AND x.grid IS NOT NULL AND e.run_id = (
    SELECT run_id FROM selected_runs WHERE study_id = {study} ORDER BY validation_loss, run_id LIMIT 1)
ORDER BY x.sample_id, m.place""",
    "marks": """\
SELECT e.run_id, m.sample_id, l.ordinal, m.x0, m.y0, m.x1, m.y1, m.score
FROM study_evaluations AS e JOIN evaluation AS v ON v.id = e.evaluation_id
JOIN mark AS m ON m.evaluation_id = v.id AND m.method = v.config #>> '{{methods,0}}' AND m.strongest
LEFT JOIN label AS l ON l.id = m.label_id
WHERE e.study_id = {study} ORDER BY e.run_id, m.sample_id, m.rank""",
    "film_lesions": """\
SELECT x.sample_id, c.ordinal, x.x0, x.y0, x.x1, x.y1
FROM study AS s JOIN sample AS p ON p.sample_set_id = s.sample_set_id AND p.split = 'test'
JOIN sample_lesion AS x ON x.sample_id = p.id
JOIN lesion AS l ON l.id = x.lesion_id JOIN label AS c ON c.id = l.label_id
WHERE s.id = {study} ORDER BY x.sample_id, x.lesion_id""",
    "cases": """\
SELECT p.run_id, p.number, n.place, s.key AS sample_key, l.code, s.pixels, s.mask, t.height, t.width
FROM prototypes AS p CROSS JOIN LATERAL (
    SELECT 0 AS place, p.source_id AS sample_id
    UNION ALL SELECT place, sample_id FROM unnest(p.neighbours) WITH ORDINALITY AS near (sample_id, place)
) AS n JOIN sample AS s ON s.id = n.sample_id JOIN label AS l ON l.id = s.label_id
JOIN sample_set AS t ON t.id = s.sample_set_id
WHERE p.study_id = {study} AND p.kept AND n.place <= 6 ORDER BY p.run_id, p.number, n.place""",
    "contact_sheet": """\
SELECT l.code, l.name, i.patient, i.laterality, i.view, x.split, x.window_x0, x.window_y0, x.window_x1, x.window_y1,
       x.pixels, x.mask, t.height AS sample_height, t.width AS sample_width, t.scale, i.width, i.height,
       o.pixels AS overview
FROM (
    SELECT p.*, row_number() OVER (PARTITION BY p.label_id ORDER BY p.id) AS place
    FROM (
        SELECT DISTINCT ON (sample.label_id, sample.image_id) sample.*
        FROM study JOIN sample USING (sample_set_id) JOIN overview ON overview.image_id = sample.image_id
        WHERE study.id = {study} ORDER BY sample.label_id, sample.image_id, sample.id
    ) AS p
) AS x
JOIN sample_set AS t ON t.id = x.sample_set_id
JOIN overview AS o ON o.image_id = x.image_id JOIN image AS i ON i.id = x.image_id JOIN label AS l ON l.id = x.label_id
WHERE x.place <= 4 ORDER BY l.ordinal, x.id""",
}
