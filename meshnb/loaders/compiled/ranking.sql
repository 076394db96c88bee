SELECT
  "t2"."by_1",
  "t2"."requests",
  "t2"."failed",
  "t2"."error_rate",
  "t2"."rest_error_rate",
  "t2"."excess",
  "t2"."share_of_failures",
  "t2"."p50_ms",
  "t2"."p99_ms",
  "t2"."first_failure"
FROM (
  SELECT
    "t1"."by_1",
    "t1"."requests",
    "t1"."failed",
    "t1"."quantiles",
    "t1"."first_failure",
    "t1"."failed" / "t1"."requests" AS "error_rate",
    (
      SUM("t1"."failed") OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) - "t1"."failed"
    ) / NULLIF(
      SUM("t1"."requests") OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) - "t1"."requests",
      0
    ) AS "rest_error_rate",
    "t1"."failed" / NULLIF(
      SUM("t1"."failed") OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING),
      0
    ) AS "share_of_failures",
    "t1"."failed" - (
      "t1"."requests" * COALESCE(
        (
          SUM("t1"."failed") OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) - "t1"."failed"
        ) / NULLIF(
          SUM("t1"."requests") OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) - "t1"."requests",
          0
        ),
        0.0
      )
    ) AS "excess",
    LIST_EXTRACT("t1"."quantiles", 1) AS "p50_ms",
    LIST_EXTRACT("t1"."quantiles", 2) AS "p90_ms",
    LIST_EXTRACT("t1"."quantiles", 3) AS "p99_ms"
  FROM (
    SELECT
      "t0"."by_1",
      COUNT(*) AS "requests",
      SUM(
        CAST(COALESCE(
          (
            "t0"."response_code" >= 500
          )
          OR NOT (
            "t0"."flag_set" IN ('DI', 'RFCF')
          )
          OR (
            (
              "t0"."response_code" >= 400
            )
            AND (
              "t0"."response_code_details" <> 'via_upstream'
            )
          )
          OR (
            (
              "t0"."response_code" = 0
            ) AND (
              "t0"."method" IS NOT NULL
            )
          ),
          FALSE
        ) AS BIGINT)
      ) AS "failed",
      QUANTILE_CONT(CAST("t0"."duration_ms" AS DOUBLE), [0.5, 0.9, 0.99]) AS "quantiles",
      MIN("t0"."start_time") FILTER(WHERE
        COALESCE(
          (
            "t0"."response_code" >= 500
          )
          OR NOT (
            "t0"."flag_set" IN ('DI', 'RFCF')
          )
          OR (
            (
              "t0"."response_code" >= 400
            )
            AND (
              "t0"."response_code_details" <> 'via_upstream'
            )
          )
          OR (
            (
              "t0"."response_code" = 0
            ) AND (
              "t0"."method" IS NOT NULL
            )
          ),
          FALSE
        )) AS "first_failure"
    FROM "log" AS "t0"
    GROUP BY
      1
  ) AS "t1"
) AS "t2"
ORDER BY
  "t2"."excess" DESC,
  "t2"."failed" DESC,
  "t2"."by_1" ASC
