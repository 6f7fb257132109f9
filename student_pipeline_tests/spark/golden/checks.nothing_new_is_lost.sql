/* Ids that were loaded or changed since the last look and don't stand exactly once in silver or, refused, */
/* in the quarantine; and whether as many rows without an id were refused as were loaded. */
WITH fresh AS (
  SELECT
    CASE
      WHEN LENGTH(
        CASE
          WHEN attend_id BETWEEN '!' AND '~'
          AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN attend_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
        END
      ) > 4
      THEN CASE
        WHEN attend_id BETWEEN '!' AND '~'
        AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN attend_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
      END
      WHEN UPPER(
        CASE
          WHEN attend_id BETWEEN '!' AND '~'
          AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN attend_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN attend_id BETWEEN '!' AND '~'
        AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN attend_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
      END
    END AS id,
    _load_id
  FROM bronze.attendance
), ids AS (
  SELECT
    id
  FROM fresh
  WHERE
    NOT id IS NULL
  UNION
  SELECT
    changed.id
  FROM (
    SELECT
      id
    FROM ops.changes
  ) AS changed
), refused AS (
  SELECT
    CASE
      WHEN LENGTH(
        CASE
          WHEN attend_id BETWEEN '!' AND '~'
          AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN attend_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
        END
      ) > 4
      THEN CASE
        WHEN attend_id BETWEEN '!' AND '~'
        AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN attend_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
      END
      WHEN UPPER(
        CASE
          WHEN attend_id BETWEEN '!' AND '~'
          AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN attend_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN attend_id BETWEEN '!' AND '~'
        AND NOT attend_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN attend_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM attend_id)
      END
    END AS id,
    _load_id
  FROM quarantine.attendance
  WHERE
    reason <> 'malformed_record'
), places AS (
  SELECT
    silver.attend_id AS id
  FROM silver.fact_attend AS silver
  INNER JOIN ids
    ON silver.attend_id = ids.id
  UNION ALL
  SELECT
    refused.id
  FROM refused
), nameless_loaded AS (
  SELECT
    COUNT(*) AS loaded,
    MIN(_load_id) AS first_load
  FROM fresh
  WHERE
    id IS NULL
), nameless AS (
  SELECT
    nameless_loaded.loaded - COUNT(refused._load_id) AS missing
  FROM nameless_loaded
  LEFT JOIN refused
    ON nameless_loaded.first_load <= refused._load_id AND refused.id IS NULL
  GROUP BY
    nameless_loaded.loaded
)
SELECT
  ids.id AS key
FROM ids
LEFT JOIN places
  ON ids.id = places.id
GROUP BY
  ids.id
HAVING
  COUNT(places.id) <> 1
UNION ALL
SELECT
  'rows without an id: ' || CAST(nameless.missing AS STRING) AS key
FROM nameless
WHERE
  nameless.missing <> 0
