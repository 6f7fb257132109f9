/* One row per assessment record: its latest version, typed, judged, with the student's class. */
WITH cleaned AS (
  SELECT
    _load_id,
    _source_row,
    _ingested_at,
    CASE
      WHEN LENGTH(
        CASE
          WHEN assessment_id BETWEEN '!' AND '~'
          AND NOT assessment_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN assessment_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM assessment_id)
        END
      ) > 4
      THEN CASE
        WHEN assessment_id BETWEEN '!' AND '~'
        AND NOT assessment_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN assessment_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM assessment_id)
      END
      WHEN UPPER(
        CASE
          WHEN assessment_id BETWEEN '!' AND '~'
          AND NOT assessment_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN assessment_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM assessment_id)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN assessment_id BETWEEN '!' AND '~'
        AND NOT assessment_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN assessment_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM assessment_id)
      END
    END AS assess_id,
    CASE
      WHEN LENGTH(
        CASE
          WHEN student_id BETWEEN '!' AND '~'
          AND NOT student_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN student_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM student_id)
        END
      ) > 4
      THEN CASE
        WHEN student_id BETWEEN '!' AND '~'
        AND NOT student_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN student_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM student_id)
      END
      WHEN UPPER(
        CASE
          WHEN student_id BETWEEN '!' AND '~'
          AND NOT student_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN student_id
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM student_id)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN student_id BETWEEN '!' AND '~'
        AND NOT student_id RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN student_id
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM student_id)
      END
    END AS student_id,
    CASE
      WHEN LENGTH(
        CASE
          WHEN subject BETWEEN '!' AND '~'
          AND NOT subject RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN subject
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM subject)
        END
      ) > 4
      THEN CASE
        WHEN subject BETWEEN '!' AND '~'
        AND NOT subject RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN subject
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM subject)
      END
      WHEN UPPER(
        CASE
          WHEN subject BETWEEN '!' AND '~'
          AND NOT subject RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN subject
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM subject)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN subject BETWEEN '!' AND '~'
        AND NOT subject RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN subject
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM subject)
      END
    END AS subject,
    CASE
      WHEN LENGTH(
        CASE
          WHEN date BETWEEN '!' AND '~'
          AND NOT date RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN date
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM date)
        END
      ) > 4
      THEN CASE
        WHEN date BETWEEN '!' AND '~'
        AND NOT date RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN date
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM date)
      END
      WHEN UPPER(
        CASE
          WHEN date BETWEEN '!' AND '~'
          AND NOT date RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN date
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM date)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN date BETWEEN '!' AND '~'
        AND NOT date RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN date
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM date)
      END
    END AS date,
    CASE
      WHEN LENGTH(
        CASE
          WHEN score BETWEEN '!' AND '~'
          AND NOT score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN score
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM score)
        END
      ) > 4
      THEN CASE
        WHEN score BETWEEN '!' AND '~'
        AND NOT score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN score
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM score)
      END
      WHEN UPPER(
        CASE
          WHEN score BETWEEN '!' AND '~'
          AND NOT score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN score
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM score)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN score BETWEEN '!' AND '~'
        AND NOT score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN score
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM score)
      END
    END AS score,
    CASE
      WHEN LENGTH(
        CASE
          WHEN max_score BETWEEN '!' AND '~'
          AND NOT max_score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN max_score
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM max_score)
        END
      ) > 4
      THEN CASE
        WHEN max_score BETWEEN '!' AND '~'
        AND NOT max_score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN max_score
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM max_score)
      END
      WHEN UPPER(
        CASE
          WHEN max_score BETWEEN '!' AND '~'
          AND NOT max_score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN max_score
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM max_score)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN max_score BETWEEN '!' AND '~'
        AND NOT max_score RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN max_score
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM max_score)
      END
    END AS max_score,
    CASE
      WHEN LENGTH(
        CASE
          WHEN created_at BETWEEN '!' AND '~'
          AND NOT created_at RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN created_at
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM created_at)
        END
      ) > 4
      THEN CASE
        WHEN created_at BETWEEN '!' AND '~'
        AND NOT created_at RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN created_at
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM created_at)
      END
      WHEN UPPER(
        CASE
          WHEN created_at BETWEEN '!' AND '~'
          AND NOT created_at RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
          THEN created_at
          ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM created_at)
        END
      ) RLIKE '^(NULL|N/A|NA|NONE|-|)\\z'
      THEN NULL
      ELSE CASE
        WHEN created_at BETWEEN '!' AND '~'
        AND NOT created_at RLIKE '[\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]\\z'
        THEN created_at
        ELSE TRIM('\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' FROM created_at)
      END
    END AS created_at
  FROM bronze.assessments
), typed AS (
  SELECT
    _load_id,
    _source_row,
    _ingested_at,
    assess_id,
    student_id,
    COALESCE(subject, 'Unknown') AS subject,
    CASE
      WHEN SUBSTRING(
        CASE
          WHEN (
            date RLIKE '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?\\z'
          )
          THEN SUBSTRING(date, 1, 10)
          WHEN date RLIKE '^[0-9]{4}/[0-9]{2}/[0-9]{2}\\z'
          THEN REPLACE(date, '/', '-')
          WHEN date RLIKE '^[0-9]{8}\\z'
          THEN SUBSTRING(date, 1, 4) || '-' || SUBSTRING(date, 5, 2) || '-' || SUBSTRING(date, 7, 2)
          WHEN date RLIKE '^[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}\\z'
          THEN SPLIT_PART(date, '/', 3) || '-' || LPAD(SPLIT_PART(date, '/', 1), 2, '0') || '-' || LPAD(SPLIT_PART(date, '/', 2), 2, '0')
        END,
        1,
        4
      ) <> '0000'
      THEN TRY_CAST(CASE
        WHEN (
          date RLIKE '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?\\z'
        )
        THEN SUBSTRING(date, 1, 10)
        WHEN date RLIKE '^[0-9]{4}/[0-9]{2}/[0-9]{2}\\z'
        THEN REPLACE(date, '/', '-')
        WHEN date RLIKE '^[0-9]{8}\\z'
        THEN SUBSTRING(date, 1, 4) || '-' || SUBSTRING(date, 5, 2) || '-' || SUBSTRING(date, 7, 2)
        WHEN date RLIKE '^[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}\\z'
        THEN SPLIT_PART(date, '/', 3) || '-' || LPAD(SPLIT_PART(date, '/', 1), 2, '0') || '-' || LPAD(SPLIT_PART(date, '/', 2), 2, '0')
      END AS DATE)
    END AS assess_date,
    CASE
      WHEN score RLIKE '^[+-]?[0-9]+(\\.[0-9]*)?([eE][+-]?[0-9]+)?\\z'
      THEN TRY_CAST(score AS DOUBLE)
    END AS score,
    CASE
      WHEN max_score IS NULL
      THEN 100
      ELSE CASE
        WHEN max_score RLIKE '^[+-]?[0-9]+(\\.[0-9]*)?([eE][+-]?[0-9]+)?\\z'
        THEN TRY_CAST(max_score AS DOUBLE)
      END
    END AS max_score,
    CASE
      WHEN NOT (
        created_at RLIKE '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?\\z'
      )
      THEN NULL
      WHEN created_at BETWEEN '0002' AND '9999'
      OR (
        (
          CAST(UNIX_DATE(TRY_CAST(SUBSTRING(created_at, 1, 10) AS DATE)) AS BIGINT) * 1440 + COALESCE(TRY_CAST(SUBSTRING(created_at, 12, 2) AS BIGINT), 0) * 60 + COALESCE(TRY_CAST(SUBSTRING(created_at, 15, 2) AS BIGINT), 0) - (
            CASE
              WHEN REPLACE(REGEXP_EXTRACT(SUBSTRING(created_at, 17), '[+-][0-9:]+', 0), ':', '') LIKE '-%'
              THEN -1
              ELSE 1
            END * (
              COALESCE(
                TRY_CAST(SUBSTRING(REPLACE(REGEXP_EXTRACT(SUBSTRING(created_at, 17), '[+-][0-9:]+', 0), ':', ''), 2, 2) AS BIGINT),
                0
              ) * 60 + COALESCE(
                TRY_CAST(SUBSTRING(REPLACE(REGEXP_EXTRACT(SUBSTRING(created_at, 17), '[+-][0-9:]+', 0), ':', ''), 4, 2) AS BIGINT),
                0
              )
            )
          )
        ) * 60000000 + COALESCE(TRY_CAST(SUBSTRING(REGEXP_EXTRACT(created_at, ':[0-9]{2}:[0-9]{2}', 0), 5, 2) AS BIGINT), 0) * 1000000 + COALESCE(TRY_CAST(RPAD(SUBSTRING(REGEXP_EXTRACT(created_at, '\\.[0-9]+', 0), 2, 6), 6, '0') AS BIGINT), 0)
      ) BETWEEN -62135596800000000 AND 253402300799999999
      THEN TIMESTAMP_MICROS(
        (
          (
            CAST(UNIX_DATE(TRY_CAST(SUBSTRING(created_at, 1, 10) AS DATE)) AS BIGINT) * 1440 + COALESCE(TRY_CAST(SUBSTRING(created_at, 12, 2) AS BIGINT), 0) * 60 + COALESCE(TRY_CAST(SUBSTRING(created_at, 15, 2) AS BIGINT), 0) - (
              CASE
                WHEN REPLACE(REGEXP_EXTRACT(SUBSTRING(created_at, 17), '[+-][0-9:]+', 0), ':', '') LIKE '-%'
                THEN -1
                ELSE 1
              END * (
                COALESCE(
                  TRY_CAST(SUBSTRING(REPLACE(REGEXP_EXTRACT(SUBSTRING(created_at, 17), '[+-][0-9:]+', 0), ':', ''), 2, 2) AS BIGINT),
                  0
                ) * 60 + COALESCE(
                  TRY_CAST(SUBSTRING(REPLACE(REGEXP_EXTRACT(SUBSTRING(created_at, 17), '[+-][0-9:]+', 0), ':', ''), 4, 2) AS BIGINT),
                  0
                )
              )
            )
          ) * 60000000 + COALESCE(TRY_CAST(SUBSTRING(REGEXP_EXTRACT(created_at, ':[0-9]{2}:[0-9]{2}', 0), 5, 2) AS BIGINT), 0) * 1000000 + COALESCE(TRY_CAST(RPAD(SUBSTRING(REGEXP_EXTRACT(created_at, '\\.[0-9]+', 0), 2, 6), 6, '0') AS BIGINT), 0)
        )
      )
    END AS created_at
  FROM cleaned
), versions AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY assess_id ORDER BY created_at DESC, _load_id DESC, _source_row DESC) AS version
  FROM typed
), latest /* A row without an id is nobody's older version. */ AS (
  SELECT
    *
  FROM versions
  WHERE
    version = 1 OR assess_id IS NULL
), judged AS (
  SELECT
    latest.*,
    student.class_id,
    CASE
      WHEN latest.assess_id IS NULL
      THEN 'missing_id'
      WHEN latest.student_id IS NULL
      THEN 'missing_student_id'
      WHEN student.student_id IS NULL
      THEN 'unknown_student'
      WHEN latest.assess_date IS NULL
      THEN 'invalid_date'
      WHEN latest.assess_date < CAST('2000-01-01' AS DATE)
      OR DATEDIFF(latest.assess_date, CAST(latest._ingested_at AS DATE)) > 1
      THEN 'date_out_of_range'
      WHEN NOT COALESCE(ABS(latest.score) <= 1.7976931348623157e308, FALSE)
      THEN 'invalid_score'
      WHEN NOT (
        COALESCE(ABS(latest.max_score) <= 1.7976931348623157e308, FALSE) AND latest.max_score > 0
      )
      THEN 'invalid_max_score'
      WHEN latest.score < 0 OR latest.score > latest.max_score
      THEN 'score_out_of_range'
    END AS reason
  FROM latest
  LEFT JOIN silver.dim_student AS student
    ON latest.student_id = student.student_id
)
SELECT
  assess_id,
  student_id,
  class_id,
  subject,
  assess_date,
  score,
  max_score,
  CASE
    WHEN reason IS NULL
    THEN (
      (
        FLOOR(
          CASE
            WHEN score <= 1e300
            THEN 100 * score / NULLIF(max_score, 0)
            ELSE 100 * (
              score / NULLIF(max_score, 0)
            )
          END * 100 + 0.5
        ) / 100
      )
    )
  END AS score_pct,
  created_at,
  _load_id,
  _source_row,
  CAST(PMOD(XXHASH64(assess_id), 2147483647) AS INT) AS _id_hash,
  reason
FROM judged
