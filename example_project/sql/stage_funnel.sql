-- Only the stage where a session ended is stored. How far a failed or cancelled
-- session had come is unknown, so these two stages have no place in the funnel.
WITH stages (ord, stage) AS (
    VALUES
        (1, 'initial'),
        (2, 'media_processing'),
        (3, 'requirement_building'),
        (4, 'clarification'),
        (5, 'searching'),
        (6, 'ranking'),
        (7, 'completed')
),

days AS (
    SELECT DISTINCT CAST(created_at AS DATE) AS day
    FROM main.sessions
),

ended AS (
    SELECT
        CAST(created_at AS DATE) AS day,
        workflow_stage AS stage,
        count(*) AS sessions
    FROM main.sessions
    GROUP BY ALL
),

-- Every day has a row for every stage, or the sum below would skip stages.
grid AS (
    SELECT
        day,
        stage,
        ord,
        coalesce(sessions, 0) AS ended_here
    FROM days
    CROSS JOIN stages
    LEFT JOIN ended USING (day, stage)
)

SELECT
    day,
    stage,
    ord,
    ended_here,
    CAST(sum(ended_here) OVER (PARTITION BY day ORDER BY ord DESC) AS BIGINT) AS reached_at_least
FROM grid
ORDER BY day, ord
