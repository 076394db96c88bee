SELECT
  "t1"."by_1",
  "t1"."by_2",
  "t1"."by_3",
  "t1"."requests",
  "t1"."failed",
  "t1"."failed" / "t1"."requests" AS "error_rate",
  LIST_EXTRACT("t1"."quantiles", 1) AS "p50_ms",
  LIST_EXTRACT("t1"."quantiles", 2) AS "p90_ms",
  LIST_EXTRACT("t1"."quantiles", 3) AS "p99_ms",
  "t1"."max_ms"
FROM (
  SELECT
    "t0"."by_1",
    "t0"."by_2",
    "t0"."by_3",
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
    MAX("t0"."duration_ms") AS "max_ms"
  FROM "log" AS "t0"
  GROUP BY
    1,
    2,
    3
) AS "t1"
ORDER BY
  "t1"."requests" DESC,
  "t1"."by_1" ASC,
  "t1"."by_2" ASC,
  "t1"."by_3" ASC
