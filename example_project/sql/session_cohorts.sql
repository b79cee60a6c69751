WITH first_seen AS (
    SELECT
        user_id,
        min(week) AS cohort_week
    FROM main.sessions
    GROUP BY user_id
),

activity AS (
    SELECT
        cohort_week,
        date_diff('week', cohort_week, week) AS week_no,
        count(DISTINCT user_id) AS users,
        count(*) AS sessions
    FROM main.sessions
    JOIN first_seen USING (user_id)
    GROUP BY ALL
)

-- In week 0 every user of the cohort is there: that week's users are the cohort's size.
SELECT
    cohort_week,
    week_no,
    users,
    sessions,
    round(users / first_value(users) OVER cohort, 3) AS retention
FROM activity
WINDOW cohort AS (PARTITION BY cohort_week ORDER BY week_no)
ORDER BY cohort_week, week_no
