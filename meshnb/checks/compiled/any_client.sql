SELECT "t0"."request_id" FROM "log_here" AS "t0" WHERE "t0"."request_id" IS NOT NULL AND NOT (COALESCE(STARTS_WITH("t0"."upstream_cluster", 'inbound|'), FALSE)) LIMIT 1
