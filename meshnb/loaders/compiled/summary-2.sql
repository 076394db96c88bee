SELECT
  "t4"."by_1",
  "t4"."by_2",
  "t4"."requests",
  "t4"."failed",
  "t4"."failed" / "t4"."requests" AS "error_rate",
  "t4"."p50_ms",
  "t4"."p90_ms",
  "t4"."p99_ms",
  "t4"."max_ms"
FROM (
  SELECT
    "t3"."by_1",
    "t3"."by_2",
    SUM("t3"."requests") AS "requests",
    SUM("t3"."failed") AS "failed",
    MIN("t3"."first_failure") AS "first_failure",
    MIN("t3"."duration_ms") FILTER(WHERE
      "t3"."until" > CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.5) AS BIGINT)) + (
      (
        MIN("t3"."duration_ms") FILTER(WHERE
          "t3"."until" > CAST(CEIL(CAST("t3"."last" AS DOUBLE) * 0.5) AS BIGINT)) - MIN("t3"."duration_ms") FILTER(WHERE
          "t3"."until" > CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.5) AS BIGINT))
      ) * MAX(
        (
          CAST("t3"."last" AS DOUBLE) * 0.5
        ) - CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.5) AS BIGINT)
      )
    ) AS "p50_ms",
    MIN("t3"."duration_ms") FILTER(WHERE
      "t3"."until" > CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.9) AS BIGINT)) + (
      (
        MIN("t3"."duration_ms") FILTER(WHERE
          "t3"."until" > CAST(CEIL(CAST("t3"."last" AS DOUBLE) * 0.9) AS BIGINT)) - MIN("t3"."duration_ms") FILTER(WHERE
          "t3"."until" > CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.9) AS BIGINT))
      ) * MAX(
        (
          CAST("t3"."last" AS DOUBLE) * 0.9
        ) - CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.9) AS BIGINT)
      )
    ) AS "p90_ms",
    MIN("t3"."duration_ms") FILTER(WHERE
      "t3"."until" > CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.99) AS BIGINT)) + (
      (
        MIN("t3"."duration_ms") FILTER(WHERE
          "t3"."until" > CAST(CEIL(CAST("t3"."last" AS DOUBLE) * 0.99) AS BIGINT)) - MIN("t3"."duration_ms") FILTER(WHERE
          "t3"."until" > CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.99) AS BIGINT))
      ) * MAX(
        (
          CAST("t3"."last" AS DOUBLE) * 0.99
        ) - CAST(FLOOR(CAST("t3"."last" AS DOUBLE) * 0.99) AS BIGINT)
      )
    ) AS "p99_ms",
    MAX("t3"."duration_ms") AS "max_ms"
  FROM (
    SELECT
      "t2"."by_1",
      "t2"."by_2",
      "t2"."duration_ms",
      "t2"."requests",
      "t2"."failed",
      "t2"."first_failure",
      "t2"."timed",
      SUM("t2"."timed") OVER (
        PARTITION BY "t2"."by_1", "t2"."by_2"
        ORDER BY "t2"."duration_ms" ASC
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
      ) AS "until",
      SUM("t2"."timed") OVER (
        PARTITION BY "t2"."by_1", "t2"."by_2"
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
      ) - 1 AS "last"
    FROM (
      SELECT
        "t1"."by_1",
        "t1"."by_2",
        "t1"."duration_ms",
        "t1"."requests",
        "t1"."failed",
        "t1"."first_failure",
        CASE WHEN "t1"."duration_ms" IS NOT NULL THEN "t1"."requests" ELSE 0 END AS "timed"
      FROM (
        SELECT
          "t0"."by_1",
          "t0"."by_2",
          "t0"."duration_ms",
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
          1,
          2,
          3
      ) AS "t1"
    ) AS "t2"
  ) AS "t3"
  GROUP BY
    1,
    2
) AS "t4"
ORDER BY
  "t4"."requests" DESC,
  "t4"."by_1" ASC,
  "t4"."by_2" ASC
