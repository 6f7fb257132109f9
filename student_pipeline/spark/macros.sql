-- Macros that Spark has in its own words, in place of those of the same name in sql/macros.sql.
-- They are written into every statement: Spark Connect has no macros.

-- noqa: disable=LT02
-- (sqlfluff does not know how the body of a macro is indented.)

-- Not the number that DuckDB gives: it finds candidates only, and never leaves the engine.
create or replace temp macro id_hash(value) as cast(pmod(xxhash64(value), 2147483647) as integer);

-- One character for one, as DuckDB does it; Spark's own function makes SS of ß. ASCII is the usual case.
create or replace temp macro upper_case(value) as
    case
        when regexp_matches(value, '^[ -~]*$$') then upper(value)
        else translate(value, '$lower', '$upper')
    end;

-- Spark's own cast reads no offset above 18 hours, and Sail's none behind a time without seconds. So the
-- instant is calculated from the parts of the text, whose form is_timestamp has seen:
-- 2026-05-04T08:00:00.000+02:00; the seconds start at 18, the offset behind 16.
create or replace temp macro whole(value) as coalesce(try_cast(value as bigint), 0);
create or replace temp macro offset_text(value) as
    replace(regexp_extract(substring(value, 17), '[+-][0-9:]+'), ':', '');
create or replace temp macro offset_minutes(value) as
    case when offset_text(value) like '-%' then -1 else 1 end
    * (whole(substring(offset_text(value), 2, 2)) * 60 + whole(substring(offset_text(value), 4, 2)));
create or replace temp macro microseconds(value) as
    rpad(substring(regexp_extract(value, '\.[0-9]+'), 2, 6), 6, '0');
create or replace temp macro epoch_microseconds(value) as
    (
        cast(unix_date(try_cast(substring(value, 1, 10) as date)) as bigint) * 1440
        + whole(substring(value, 12, 2)) * 60 + whole(substring(value, 15, 2)) - offset_minutes(value)
    ) * 60000000
    + whole(substring(regexp_extract(value, ':[0-9]{2}:[0-9]{2}'), 5, 2)) * 1000000
    + whole(microseconds(value));
create or replace temp macro instant(value) as
    case
        when not is_timestamp(value) then null
        when
            value between '0002' and '9999'
            or epoch_microseconds(value) between -62135596800000000 and 253402300799999999
            then timestamp_micros(epoch_microseconds(value))
    end;
