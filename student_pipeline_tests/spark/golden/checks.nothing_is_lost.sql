/* Latest versions in bronze must be the rows of silver and of silver's part of the quarantine. */
/* A row without an id is a version of nothing else. */
WITH delivered AS (
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
    END AS id
  FROM bronze.attendance
), bronze AS (
  SELECT
    COUNT(DISTINCT id) + COUNT(*) - COUNT(id) AS latest_versions
  FROM delivered
), silver AS (
  SELECT
    COUNT(*) AS accepted
  FROM silver.fact_attend
), quarantine AS (
  SELECT
    COUNT(*) AS refused
  FROM quarantine.attendance
  WHERE
    reason <> 'malformed_record'
)
SELECT
  'latest versions in bronze ' || CAST(bronze.latest_versions AS STRING) || ', rows in silver ' || CAST(silver.accepted AS STRING) || ', refused rows in quarantine ' || CAST(quarantine.refused AS STRING) AS key
FROM bronze
CROSS JOIN silver
CROSS JOIN quarantine
WHERE
  bronze.latest_versions <> silver.accepted + quarantine.refused
