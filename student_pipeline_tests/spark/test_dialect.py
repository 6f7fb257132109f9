"""What the SQL means on Spark: the same as on DuckDB, or it is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from sqlglot import exp

from student_pipeline.spark.dialect import (
    CONFIGURATION,
    Untranslatable,
    macros,
    parsed,
    to_spark,
)
from student_pipeline.warehouse import sql
from student_pipeline_tests.test_macros import NUMBER_MACROS, TEXT_MACROS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def embedded() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(sql.macros())
        yield connection


@pytest.fixture(scope="module")
def cluster(spark: SparkSession) -> SparkSession:
    for name, value in CONFIGURATION.items():
        spark.conf.set(name, value)
    return spark


# --- the same values ------------------------------------------------------------------------------

DAYS = (
    *("2026-05-04", "2026-02-30", "2024-02-29", "2023-02-29", "2026-13-01", "1582-10-10"),
    *("0000-01-01", "0000-12-31", "0001-01-01", "0002-01-01", "9999-01-01", "9999-12-31"),
)
TIMES = (
    *("", "T", "T10", "T10:00", " 10:00", "  10:00", "T10:00:00", "T24:00", "T10:00:60"),
    *("T23:59:59.999999", "T23:59:59.9999999", "T00:00:00.1", "T10:00:00."),
)
OFFSETS = (
    *("", "Z", "z", "+00", "+05", "-05", "+0530", "+05:30", " +05", "+5", "-00:00"),
    *("+18:00", "+18:01", "-23:59", "+23:59", "+24:00"),
)
DATES = (
    *("2026/01/02", "20260102", "1/2/2026", "01/02/2026", "13/02/2026", "2/30/2026", "1/2/26"),
    *("2026-1-2", "00000101", "0000/01/01", "99991231", "1/2/2026\n", "2/29/2024", "2/29/2023"),
    *("2026", "2026-03", "2026-03-04 garbage", "2026-05-04\n", "\n2026-05-04"),
)
NUMBERS = (
    *("1", "1.", "+1", "-1", ".5", "1e5", "1E400", "-1e400", "1e-400", "0x10", "1_000", "5d"),
    *("NaN", "Infinity", "1,5", "00012.50", "9" * 400, "1.7976931348623157e308", "1e308"),
    *("1.7976931348623159e308", "0.005", "1.005", "2.675", "1e+2", "1e", "e1", "7\n"),
)
WORDS = (
    *("null", "N/A", "na", "NONE", "-", "", "K", "kg", "Pre-K", "Grade 10", "grade\u00a09"),
    *("10th", "1ST", "2nd", "3RD", "10.0", "1ﬆ", "1ſt", "09", "100", "10\n", "10th\n"),
    *("straße", "ΐ ΰ", "ﬁn", "ŉ", "ǆ ǅ", "ı İ", "ᾳ", "é", "e\u0301", "😀 x"),
    *("it's", 'so "', "a\\b", "\\n", "\\", "${x}", "$1", "%", "_", "a\u2028b", "x\n", "\r\n"),
    *("x" * 200, "é" * 201, "😀" * 201),
)
RANDOM = Random(20260504)
LETTERS = [*"0123456789-/.:TZ+eE kKgGrRaAdDsStThHnN'\\${}%_", *sql.BLANKS, *"éßﬆſıŉ😀"]
TEXTS: list[str | None] = [
    None,
    *(day + time + offset for day in DAYS for time in TIMES for offset in OFFSETS),
    *DATES,
    *NUMBERS,
    *WORDS,
    *map(chr, range(1, 0x250)),
    *map(chr, range(0x1E00, 0x2100)),
    *("".join(RANDOM.choices(LETTERS, k=RANDOM.randrange(12))) for _ in range(2_000)),
]

CALLS = {
    "trimmed": "trimmed(v)",
    "clean": "clean(v)",
    "upper_case": "upper_case(v)",
    "id_hash": "id_hash(v) between -2147483647 and 2147483647",
    "is_timestamp": "is_timestamp(clean(v))",
    "instant": "instant(clean(v))",
    "iso_date_text": "iso_date_text(clean(v))",
    "calendar_date": "calendar_date(clean(v))",
    "number": "number(clean(v))",
    "without_blanks": "without_blanks(v)",
    "grade_level": "grade_level(clean(v))",
    "found": "found(v)",
}
"""Macro of text -> a call that takes any text."""


def values_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """The rows of a table; times as microseconds, since Python knows no year below 1."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.columns
    ]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def on_both(
    embedded: duckdb.DuckDBPyConnection,
    cluster: SparkSession,
    calls: Sequence[str],
    data: pa.Table,
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """What the calls give for each row of the data, here and there."""
    named = ", ".join(f"{call} as c{number}" for number, call in enumerate(calls))
    query = f"select i, {named} from given order by i"
    embedded.register("given", data)
    cluster.createDataFrame(data).createOrReplaceTempView("given")
    here = embedded.sql(query).to_arrow_table()
    return values_of(here), values_of(cluster.sql(to_spark(query)).toArrow())


def test_a_text_becomes_the_same_value(
    embedded: duckdb.DuckDBPyConnection, cluster: SparkSession
) -> None:
    assert sorted(CALLS) == sorted(TEXT_MACROS)
    data = pa.table({"i": pa.array(range(len(TEXTS)), pa.int32()), "v": TEXTS})
    here, there = on_both(embedded, cluster, [*CALLS.values()], data)
    differing = [
        f"{call} of {TEXTS[mine[0]]!r}: {ours!r} here, {other!r} there"
        for mine, theirs in zip(here, there, strict=True)
        for call, ours, other in zip(CALLS, mine[1:], theirs[1:], strict=True)
        if ours != other
    ]
    assert differing == []
    # Each macro was seen to make something of some texts; of the hash it is only asked that it fits.
    for name, values in zip(CALLS, list(zip(*here, strict=True))[1:], strict=True):
        assert len({*values}) > 1 or name == "id_hash"


NUMBER_CALLS = {
    "is_finite": "is_finite(v)",
    "rounded_2": "rounded_2(abs(v))",
    "rounded_4": "rounded_4(abs(v))",
    "share": "share(n, m)",
    "percentage": "percentage(v, w)",
    "hundredths": "hundredths(least(abs(v), 1e14))",
    "mean_of_hundredths": "mean_of_hundredths(n, m)",
}
"""Macro of numbers -> a call, of a score, its maximum, and two counts."""


def test_a_number_becomes_the_same_number(
    embedded: duckdb.DuckDBPyConnection, cluster: SparkSession
) -> None:
    assert sorted(NUMBER_CALLS) == sorted(NUMBER_MACROS)
    halves = [number / 1000 for number in range(0, 20_000, 5)]
    random = [RANDOM.uniform(0, 100) for _ in range(2_000)]
    scores = [None, 0.0, 1e-300, 1e14, *halves, *random]  # beyond, Spark's floor overflows
    highest = [None, 0.0, 100.0, 7.0, 3.0, 1e300]
    count = range(len(scores))
    data = pa.table(
        {
            "i": pa.array(count, pa.int32()),
            "v": pa.array(scores, pa.float64()),
            "w": pa.array([highest[number % len(highest)] for number in count], pa.float64()),
            "n": pa.array([number % 97 for number in count], pa.int64()),
            "m": pa.array([number % 31 for number in count], pa.int64()),
        }
    )
    here, there = on_both(embedded, cluster, [*NUMBER_CALLS.values()], data)
    assert here == there
    # Where a share has no whole, there is none; everything else was a number.
    assert {row[4] is None for row in here} == {True, False}
    assert not any(isinstance(cell, float) and math.isnan(cell) for row in here for cell in row)


def test_huge_numbers_are_told_apart(
    embedded: duckdb.DuckDBPyConnection, cluster: SparkSession
) -> None:
    huge = [1.7976931348623157e308, 1e308, -1e308, math.inf, -math.inf, None]
    data = pa.table(
        {"i": pa.array(range(len(huge)), pa.int32()), "v": pa.array(huge, pa.float64())}
    )
    calls = ["is_finite(v)", "percentage(v, 1.7976931348623157e308)"]
    assert on_both(embedded, cluster, calls[:1], data)[0] == [
        *((number, True) for number in range(3)),
        *((number, False) for number in range(3, 6)),
    ]
    finite = data.slice(0, 2)
    here, there = on_both(embedded, cluster, calls, finite)
    assert here == there == [(0, True, 100.0), (1, True, 55.63)]


PUPILS = """
    select * from (values
        (1, 'a', 5, cast(null as integer), date '2026-05-04'),
        (2, 'a', 5, 2, date '2026-05-05'),
        (3, 'B', null, 2, date '2026-06-05'),
        (4, 'é', 1, 3, null),
        (5, null, 7, 1, date '2026-05-04')
    ) as v (i, k, n, m, d)
"""


@pytest.fixture(scope="module")
def pupils(embedded: duckdb.DuckDBPyConnection, cluster: SparkSession) -> None:
    """A table of a few rows, here and there."""
    embedded.execute(f"create table pupils as {PUPILS}")
    cluster.sql(to_spark(PUPILS)).createOrReplaceTempView("pupils")


MEANINGS = {
    "nulls in order": "select i from pupils order by n, m desc, i",
    "nulls named": "select i from pupils order by n desc nulls first, i desc",
    "texts in order": "select k from pupils order by k",
    "a rank": "select i, row_number() over (partition by k order by n desc, i) as r from pupils "
    "order by i",
    "the row before": "select i, lag(k) over (order by i) as b from pupils order by i",
    "qualify": "select i from pupils qualify row_number() over (partition by k order by i) = 1 "
    "order by i",
    "filters": "select count(*) filter (where n > 1) as a, count(distinct k) as b, count(n) as c "
    "from pupils",
    "sums": "select k, cast(sum(n) as bigint) as s, min(m) as a, max(d) as b from pupils group by k "
    "order by k",
    "median": "select median(n) as m from pupils",
    "days apart": "select i, date_diff('day', date '2026-05-01', d) as c from pupils order by i",
    "distinct from": "select i, n is distinct from m as a, n is not distinct from m as b "
    "from pupils order by i",
    "no nulls in": "select i from pupils where n not in (select m from pupils where m is not null) "
    "order by i",
    "pairs in": "select i from pupils where (k, n) in (select k, n from pupils where i < 3) "
    "order by i",
    "exists": "select g.i from pupils as g where exists (select 1 from pupils as o where o.n = g.m) "
    "order by i",
    "semi join": "select g.i from pupils as g semi join (select m as n from pupils) as o using (n) "
    "order by i",
    "anti join": "select g.i from pupils as g anti join (select m as n from pupils) as o "
    "on g.n = o.n order by i",
    "full join": "select coalesce(a.i, b.i) as i, a.n, b.m from pupils as a "
    "full join pupils as b on a.n = b.m order by i, n, m",
    "union": "select n from pupils union select m from pupils order by n",
    "except": "select n from pupils except select m from pupils order by n",
    "a materialized CTE": "with c as materialized (select n from pupils) select count(*) as n from c",
    "texts joined": "select k || ' on ' || cast(d as varchar) || cast(n as varchar) as t, i "
    "from pupils order by i",
    "a text of JSON": "select i, cast('{\"a\":1}' as json) as j from pupils order by i",
    "greatest and least": "select i, greatest(n, m) as a, least(n, m) as b from pupils order by i",
    "patterns": "select i, k like 'a%' as a from pupils order by i",
    "division": "select i, cast(n as double) / nullif(cast(m as double), 0) as q from pupils "
    "order by i",
    "trimmed on one side": "select ltrim('xxaxx', 'x') as a, rtrim('xxaxx', 'x') as b",
    "texts": "select i, lpad(k, 3, '0') as a, split_part('x/y/z', '/', i) as b, length(k) as c, "
    "substring(k, 1, 1) as e, replace(k, 'a', 'b') as f, md5(k) as g from pupils order by i",
    "a limit": "select i from pupils order by i limit 2",
}


@pytest.mark.parametrize("name", MEANINGS)
def test_a_query_means_the_same(
    embedded: duckdb.DuckDBPyConnection, cluster: SparkSession, pupils: None, name: str
) -> None:
    query = MEANINGS[name]
    here = values_of(embedded.sql(query).to_arrow_table())
    assert values_of(cluster.sql(to_spark(query)).toArrow()) == here != []


def test_one_hash_for_one_value(cluster: SparkSession) -> None:
    """The columns that it fills are INTEGER, and the same value gives the same number."""
    query = (
        "select count(distinct id_hash(v)) as n, min(id_hash(v)) as low, max(hash(v, i)) as h from "
        "(values ('a', 1), ('a', 1), ('b', 1), (null, 1)) as given (v, i)"
    )
    found = cluster.sql(to_spark(query)).toArrow()
    assert found.schema.field("low").type == pa.int32()
    assert found["n"].to_pylist() == [3]
    assert found["low"].to_pylist()[0] >= 0


def test_upper_case_is_that_of_the_embedded_engine(embedded: duckdb.DuckDBPyConnection) -> None:
    """One character for one, and all of them in `upper_case.txt`."""
    codes = [code for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    lower, upper = (
        files("student_pipeline")
        .joinpath("spark/upper_case.txt")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    stored = dict(zip(lower, upper, strict=True))
    rows = embedded.execute(
        "select c, upper(c) from (select unnest($1::varchar[]) as c) where upper(c) <> c",
        [[*map(chr, codes)]],
    ).fetchall()
    assert stored == dict(rows)


# --- literals and parameters ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["it's", "\\", "\\'", "a\\nb", "a\nb\t\r\0c".replace("\0", ""), "${spark.app.name}", "$", "-- x",
     "/* x */", '"', "`", "\x7f\x1b", "\u2028\ufeff", "😀", ";"],
)  # fmt: skip
def test_a_text_is_the_same_text(cluster: SparkSession, text: str) -> None:
    query = f"select {sql.literal(text)} as a"
    assert cluster.sql(to_spark(query)).toArrow()["a"].to_pylist() == [text]


def test_a_name_is_quoted(cluster: SparkSession) -> None:
    name = 'a "b" `c`, d'
    query = f"select 1 as {sql.identifier(name)}"
    assert cluster.sql(to_spark(query)).toArrow().column_names == [name]


# --- what is refused ------------------------------------------------------------------------------

REFUSED = {
    "select foo(a) from t": "foo is no function that both engines are known to have",
    "select strptime(a, '%Y') from t": "strtotime is nothing that both engines",
    "select round(a, 2) from t": "round is nothing",
    "select list(a) from t": "arrayagg is nothing",
    "select arg_max(a, b) from t": "argmax is nothing",  # of a null, DuckDB takes the next
    "select max(a order by b) from t": "the order in an aggregate gets lost",
    "select a from t order by all": "",
    "select a, count(*) from t group by all": "all would get lost",
    "select * exclude (a) from t": "except would get lost",
    "select distinct on (a) b from t": "on would get lost",
    "select a from t union all by name select a from u": "by_name would get lost",
    "select a from t asof join u on t.a >= u.a": "method would get lost",
    "select a from t natural join u": "method would get lost",
    "select a from t using sample 3": "sample would get lost",
    "select a from t tablesample 10%": "sample",
    "select a from t limit 10%": "limit_options would get lost",
    "select a from t offset 3": "offset",
    "select rowid from t": "rows have no number",
    "select date_diff('month', a, b) from t": "dates are compared in days",
    "select a + interval 1 day from t": "interval is nothing",
    "select dayofweek(a) from t": "dayofweek is nothing",
    "select trim(a) from t": "it trims other blanks",
    "select regexp_matches(a, '\\s') from t": "its pattern means different things",
    "select regexp_matches(a, 'a.c') from t": "its pattern means different things",
    "select regexp_matches(a, '(?i)a') from t": "its pattern means different things",
    "select regexp_matches(a, '[[:alpha:]]') from t": "its pattern means different things",
    "select regexp_matches(a, b) from t": "its pattern is not written out",
    "select regexp_matches(a, 'x', 'i') from t": "flag would get lost",
    "select regexp_replace(a, 'x', '') from t": "Spark replaces every match",
    "select regexp_replace(a, '(x)', '\\1', 'g') from t": "its replacement means different things",
    "select try_cast(a as timestamptz) from t": "use the macro instant",
    "select cast(a as timestamp) from t": "the type TIMESTAMP is another one",
    "select cast(a as hugeint) from t": "the type INT128 is another one",
    "select a % 7 from t": "mod is nothing",
    "select a // 7 from t": "intdiv is nothing",
    "select [a, b] from t": "array is nothing",
    "select a[1] from t": "bracket is nothing",
    "select sum(a) over (order by b rows 1 preceding) from t": "spec would get lost",
    "select a from read_csv('x')": "readcsv is nothing",
    "select ? from t": "placeholder is nothing",
    "insert into t select 1": "Only queries can be said in Spark's SQL, not INSERT",
    "create temp table x as select 1": "Only queries",
    "delete from t": "Only queries",
    "select from where": "The SQL can't be read",
    "select clean(a, b) from t": "The macro clean has 1 parameters",
}
"""Statement -> a part of what is said of it."""


@pytest.mark.parametrize("statement", REFUSED)
def test_what_spark_would_read_differently_is_refused(statement: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        to_spark(statement)
    assert REFUSED[statement] in str(refused.value)


def test_no_macro_is_left() -> None:
    """Not in the body of any macro, and not where one is called in capitals."""
    names = {*macros()}
    for name, (parameters, _) in macros().items():
        tree = parsed(f"select {name.upper()}({', '.join(parameters)})")
        assert not {call.name.lower() for call in tree.find_all(exp.Anonymous)} & names
