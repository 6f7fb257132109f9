-- Assessments whose score is not within 0 and the maximum, or whose percentage is another number.
select assess_id as key
from $fact_assess
where
    not (max_score > 0 and score >= 0 and score <= max_score)
    or score_pct is distinct from percentage(score, max_score)
