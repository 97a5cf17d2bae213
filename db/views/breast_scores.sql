-- Classes are malignant or benign by the study's option, their code, or the pathologies of all their lesions, as in the
-- two-class views; no rows where one is neither. Of patches the strongest stands for its breast, of films their mean.
CREATE VIEW breast_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    breast.patient, breast.laterality,
    breast.label, breast.score, breast.views
FROM study_evaluations AS e
JOIN study ON study.id = e.study_id
JOIN sample_set ON sample_set.id = study.sample_set_id
CROSS JOIN LATERAL (
    WITH named AS (
        SELECT
            CASE WHEN sample_set.scale = 1 THEN coalesce(study.config #> '{data,positive}', '[]') ELSE '[]' END AS codes
    ), side AS (
        SELECT
            label.id, label.ordinal,
            CASE
                WHEN named.codes <> '[]' THEN CASE WHEN named.codes ? label.code THEN 'malignant' ELSE 'benign' END
                WHEN upper(label.code) LIKE 'MALIGNANT%' OR bool_and(upper(lesion.pathology) LIKE 'MALIGNANT%')
                    THEN 'malignant'
                WHEN upper(label.code) LIKE 'BENIGN%' OR bool_and(upper(lesion.pathology) LIKE 'BENIGN%')
                    THEN 'benign'
            END AS name
        FROM named
        CROSS JOIN sample
        JOIN label ON label.id = sample.label_id
        LEFT JOIN lesion ON lesion.id = sample.lesion_id
        WHERE sample.sample_set_id = study.sample_set_id AND label.is_lesion
        GROUP BY label.id, label.ordinal, label.code, named.codes
    ), said AS (
        SELECT
            image.patient, image.laterality, side.name,
            coalesce((
                SELECT
                    sum(prediction.probabilities[each.ordinal + 1]::double precision)
                        FILTER (WHERE each.name = 'malignant')
                    / nullif(sum(prediction.probabilities[each.ordinal + 1]::double precision), 0)
                FROM side AS each
            ), 0) AS score
        FROM prediction
        JOIN sample ON sample.id = prediction.sample_id
        JOIN image ON image.id = sample.image_id
        JOIN side ON side.id = sample.label_id
        WHERE prediction.evaluation_id = e.evaluation_id
            AND (SELECT count(DISTINCT each.name) = 2 AND count(*) = count(each.name) FROM side AS each)
    )
    SELECT
        said.patient, said.laterality, max(said.name) AS label,
        CASE WHEN sample_set.scale > 1 THEN avg(said.score) ELSE max(said.score) END AS score,
        count(*) * CASE WHEN sample_set.config ->> 'unit' = 'breast' THEN 2 ELSE 1 END AS views
    FROM said
    GROUP BY said.patient, said.laterality
) AS breast;
COMMENT ON VIEW breast_scores IS
'One row per study, run and breast of the test split: how likely it is malignant, given that it shows lesions';
