-- Kept beside the config.
SELECT month, count(*) AS n
FROM monthly
GROUP BY ALL;
