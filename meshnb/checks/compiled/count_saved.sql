SELECT COUNT(*) FILTER(WHERE NOT ("t0"."wrong")) AS "saved" FROM "troubled_requests_here" AS "t0"
