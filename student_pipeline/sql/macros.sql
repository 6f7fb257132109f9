-- How a text becomes a value. Each macro takes text as it came (or cleaned text, where it says so)
-- and gives null for what it can't read; none of them fails on any text.

-- noqa: disable=LT02
-- (sqlfluff does not know how the body of a macro is indented.)

-- Text without the blanks around it (every Unicode blank and zero-width character). Looking whether there
-- is any is many times faster than trimming, and what stands between ! and ~ begins with none.
create or replace temp macro trimmed(value) as
    case
        when value between '!' and '~' and not regexp_matches(value, '[$blanks]$$') then value
        else trim(value, '$blanks')
    end;

-- Trimmed text; null where it is empty or a word for nothing. (A list of five words would become a
-- join in DuckDB, many times slower on long columns; most values are too long to be one of them.)
create or replace temp macro clean(value) as
    case
        when length(trimmed(value)) > 4 then trimmed(value)
        when regexp_matches(upper(trimmed(value)), '^(NULL|N/A|NA|NONE|-|)$$') then null
        else trimmed(value)
    end;

-- Text in upper case, as other text is compared with it or shown. Beyond ASCII, engines differ.
create or replace temp macro upper_case(value) as upper(value);

-- A number for a cleaned id. Columns of such numbers are read much faster than those of texts; two ids
-- may share one, so it finds candidates only.
create or replace temp macro id_hash(value) as cast(hash(value) % 2147483647 as integer);

-- Whether cleaned text has the form of an ISO 8601 timestamp: date, blank or T, time, optional seconds,
-- fraction and offset; or a date alone.
create or replace temp macro is_timestamp(value) as
    regexp_matches(
        value,
        '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?'
        || '(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?$$'
    );

-- The instant of a cleaned timestamp; without an offset it is UTC (the session's time zone). In the first
-- and the last year an offset may lead out of 1 to 9999, which is all that Python and Spark know.
create or replace temp macro instant(value) as
    case
        when not is_timestamp(value) then null
        when value between '0002' and '9999' then try_cast(value as timestamptz)
        when
            try_cast(value as timestamptz) between cast('0001-01-01T00:00:00Z' as timestamptz)
            and cast('9999-12-31T23:59:59.999999Z' as timestamptz)
            then try_cast(value as timestamptz)
    end;

-- Cleaned text of a date in any accepted form, as YYYY-MM-DD.
create or replace temp macro iso_date_text(value) as
    case
        when is_timestamp(value) then substring(value, 1, 10)
        when regexp_matches(value, '^[0-9]{4}/[0-9]{2}/[0-9]{2}$$') then replace(value, '/', '-')
        when regexp_matches(value, '^[0-9]{8}$$')
            then substring(value, 1, 4) || '-' || substring(value, 5, 2) || '-' || substring(value, 7, 2)
        when regexp_matches(value, '^[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}$$')
            then
                split_part(value, '/', 3)
                || '-' || lpad(split_part(value, '/', 1), 2, '0')
                || '-' || lpad(split_part(value, '/', 2), 2, '0')
    end;

-- The day of a cleaned date; null where the calendar has no such day (there is no year 0).
create or replace temp macro calendar_date(value) as
    case
        when substring(iso_date_text(value), 1, 4) <> '0000' then try_cast(iso_date_text(value) as date)
    end;

-- The number of a cleaned text: sign, digits, decimal part, exponent. May be infinite when out of range.
create or replace temp macro number(value) as
    case
        when regexp_matches(value, '^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$$')
            then try_cast(value as double)
    end;

-- Whether a number is there and finite.
create or replace temp macro is_finite(value) as
    coalesce(abs(value) <= 1.7976931348623157e308, false);

-- Half up to 2 and 4 decimals, for numbers from 0 on.
create or replace temp macro rounded_2(value) as floor(value * 100 + 0.5) / 100;
create or replace temp macro rounded_4(value) as floor(value * 10000 + 0.5) / 10000;

-- part / whole, both counts, as a share with 4 decimals; null where the whole is 0.
-- The product comes before the division, so that a half is met exactly.
create or replace temp macro share(part, whole) as
    floor(10000 * cast(part as double) / nullif(cast(whole as double), 0) + 0.5) / 10000;

-- Score in percent of the maximum, 2 decimals; the second form keeps huge scores from overflowing.
create or replace temp macro percentage(score, max_score) as
    rounded_2(
        case
            when score <= 1e300 then 100 * score / nullif(max_score, 0)
            else 100 * (score / nullif(max_score, 0))
        end
    );

-- A percentage with 2 decimals as a whole number of hundredths, and the mean of `how_many` such numbers.
-- Sums of whole numbers are the same in every order, sums of decimals are not.
create or replace temp macro hundredths(value) as cast(floor(value * 100 + 0.5) as bigint);
create or replace temp macro mean_of_hundredths(total, how_many) as
    floor(cast(total as double) / nullif(cast(how_many as double), 0) + 0.5) / 100;

-- Text without any blank, inside or outside.
create or replace temp macro without_blanks(value) as regexp_replace(value, '[$blanks]', '', 'g');

-- Grade level of a text: 10, 09, 10.0, 10th, Grade 10; kindergarten is 0, pre-kindergarten -1.
create or replace temp macro grade_level(value) as
    case
        when
            regexp_matches(
                without_blanks(value),
                '^([Gg][Rr][Aa][Dd][Ee])?[0-9]{1,2}([Ss][Tt]|[Nn][Dd]|[Rr][Dd]|[Tt][Hh]|\.0)?$$'
            )
            then cast(regexp_extract(without_blanks(value), '[0-9]{1,2}') as integer)
        when upper(without_blanks(value)) in ('K', 'KG', 'KINDERGARTEN', 'GRADEK') then 0
        when upper(without_blanks(value)) in ('PK', 'PRE-K', 'PREK') then -1
    end;

-- A value as it came, for a sentence: quoted, shortened where it is long, and 'nothing' where it is null.
create or replace temp macro found(value) as
    case
        when value is null then 'nothing'
        when length(value) > 200 then '''' || substring(value, 1, 200) || '…'''
        else '''' || value || ''''
    end;
