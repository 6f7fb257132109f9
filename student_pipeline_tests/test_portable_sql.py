"""The SELECTs keep to the SQL that means the same on DuckDB and on Spark.

A lint over the parsed SQL. How it is said on Spark, and that it means the same there, is for the tests
in `student_pipeline_tests/spark/`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from string import Template

import pytest
import sqlglot
from sqlglot import exp

from student_pipeline import tables
from student_pipeline.settings import EARLIEST_DATE
from student_pipeline.sources import ATTENDANCE_STATUSES
from student_pipeline.spark.dialect import definitions, misfits, parsed, text_of
from student_pipeline.warehouse import sql

SELECTS = sorted(
    f"{folder.name}/{file.name}"
    for folder in files("student_pipeline").joinpath("sql").iterdir()
    if folder.is_dir()
    for file in folder.iterdir()
    if file.name.endswith(".sql")
)

PLACEHOLDERS: dict[str, object] = {
    # Relations by their names; checks that serve several tables are looked at with one of them.
    **{table.name: table.full_name for table in (*tables.BRONZE, *tables.SILVER, *tables.GOLD)},
    "bronze": "bronze.attendance",
    "silver": "silver.fact_attend",
    "quarantine": "quarantine.attendance",
    "fact": "silver.fact_attend",
    "id": "attend_id",
    "key": "attend_id",
    "changes": "select id from ops.changes",
    # Rules.
    "statuses": sql.vocabulary(ATTENDANCE_STATUSES),
    "present_statuses": "'PRESENT', 'LATE'",
    "earliest_date": EARLIEST_DATE,
    "min_days": 10,
    "chronic_percent": 10,
    "limit": 0.05,
    # The report's.
    "periods": "(select * from (values (date '2025-09-01', 0)) as v (date, period))",
    "since": "2025-09-01",
    "min_group": 10,
}
"""What stands for the placeholders of the files."""

COLUMNS = {
    table.full_name: table.column_names
    for table in (*tables.TABLES.values(), tables.LATEST_ROSTER, *tables.OPS)
}
"""Table -> its columns."""


def rendered(path: str) -> str:
    """The SELECT of a file, its placeholders filled in."""
    return sql.render(path, **PLACEHOLDERS)


@cache
def macros() -> dict[str, tuple[Sequence[str], exp.Expr]]:
    """Macro -> (parameters, body), as DuckDB has them."""
    return definitions(sql.macros())


# --- the lint -------------------------------------------------------------------------------------

INTEGERS = (exp.DType.INT, exp.DType.BIGINT, exp.DType.SMALLINT, exp.DType.TINYINT)

FORBIDDEN_FUNCTIONS: dict[str, tuple[type[exp.Expr], ...]] = {
    "rounding differs at halves: use a macro": (exp.Round,),
    "formats differ: cut out the parts with substring": (
        exp.StrToTime,
        exp.StrToDate,
        exp.TimeToStr,
        exp.StrToUnix,
    ),
    "truncated dates are dates or timestamps": (
        exp.DateTrunc,
        exp.TimestampTrunc,
        exp.DatetimeTrunc,
    ),
    "interval arithmetic gives dates or timestamps": (
        exp.Interval,
        exp.DateAdd,
        exp.DateSub,
        exp.TimestampAdd,
        exp.TimestampSub,
    ),
    "days of the week are numbered differently": (
        exp.DayOfWeek,
        exp.DayOfWeekIso,
        exp.Dayname,
        exp.Week,
        exp.WeekOfYear,
        exp.Extract,
    ),
    "QUALIFY: rank in a CTE, filter in the next": (exp.Qualify,),
    "the clock: pass the time in": (
        exp.CurrentDate,
        exp.CurrentTimestamp,
        exp.CurrentTime,
        exp.UtcTimestamp,
        exp.Rand,
    ),
    "COLUMNS(): write the names out": (exp.Columns,),
    "whole-number division and remainders by 0 differ": (exp.IntDiv, exp.Mod),
    "the first value is any value": (exp.First, exp.Last, exp.AnyValue),
    "lists and structs differ": (
        exp.Bracket,
        exp.Struct,
        exp.Array,
        exp.Lambda,
        exp.Unnest,
        exp.ArrayAgg,
        exp.GroupConcat,
    ),
}


def forbidden_functions(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for why, kinds in FORBIDDEN_FUNCTIONS.items():
        for node in select.find_all(*kinds):
            yield node, why


def unguarded_division(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for node in select.find_all(exp.Div):
        divisor = node.expression.unnest()
        if isinstance(divisor, exp.Literal) and float(divisor.this) != 0:
            continue
        if not isinstance(divisor, exp.Nullif):
            yield node, "division by 0 is infinite, or an error: divide by nullif(…, 0)"


def case_beyond_ascii(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """Upper case is the same where it is compared with ASCII that no other character becomes."""
    for node in select.find_all(exp.Upper, exp.Lower, exp.Initcap):
        compared = node.parent
        words: list[exp.Expr] = []
        if isinstance(compared, exp.In):
            words = compared.expressions
        elif isinstance(compared, (exp.RegexpLike, exp.EQ, exp.NEQ)):
            words = [compared.expression]
        texts = [text_of(word) for word in words]
        harmless = texts and all(
            text is not None and text.isascii() and not any(pair in text for pair in LIGATURES)
            for text in texts
        )
        if not harmless or not isinstance(node, exp.Upper):
            yield node, "upper and lower case differ beyond ASCII: use the macro upper_case"


LIGATURES = ("FF", "FI", "FL", "SS", "ST")
"""What one character (ﬀ, ﬁ, ﬂ, ß, ﬆ) is in upper case on some engines."""


def dates_added(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    times = {
        column.name
        for table in tables.TABLES.values()
        for column in table.columns
        if column.type in ("DATE", "TIMESTAMPTZ") and table.schema not in ("bronze", "quarantine")
    }
    for node in select.find_all(exp.Add, exp.Sub):
        for side in (node.left.unnest(), node.right.unnest()):
            cast = isinstance(side, exp.Cast) and side.is_type("date", "timestamptz")
            if cast or (isinstance(side, exp.Column) and side.name in times):
                yield node, "sums of dates are dates, timestamps or numbers: date_diff('day', …)"


def unlisted(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """What the translation does not know to mean the same, whatever it is."""
    yield from misfits(parsed(select.sql("duckdb")))


def uncast_aggregates(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for node in select.find_all(exp.Sum):
        outside = node.parent
        while isinstance(outside, (exp.Filter, exp.Window, exp.Paren)):
            outside = outside.parent
        if not (isinstance(outside, exp.Cast) and outside.is_type("bigint", "double")):
            yield node, "sums have other types: cast(sum(…) as bigint)"
    for mean in select.find_all(exp.Avg):
        yield (
            mean,
            "averages depend on types and on the order of rows: the macro mean_of_hundredths",
        )


def careless_casts(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """Casts to whole numbers round or truncate; casts of text that is no date fail or succeed."""
    whole = (exp.Floor, exp.Sum, exp.Count, exp.Filter, exp.Window, exp.RegexpExtract, exp.Literal)
    for node in select.find_all(exp.Cast):  # a TRY_CAST is a kind of CAST
        if node.to.this in INTEGERS and not isinstance(node.this.unnest(), whole):
            yield node, "whole numbers are rounded or truncated: floor(… + 0.5)"
        if isinstance(node, exp.TryCast):
            yield node, "text becomes a value in the macros, behind a regular expression"


def engine_s_own_blanks(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for trim in select.find_all(exp.Trim):
        if not trim.expression:
            yield trim, "engines trim other blanks: name the characters"


def loose_patterns(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for search in select.find_all(exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace):
        if re.search(r"\\[sSwWdDbB]|\[:", search.expression.sql()):
            yield search, "classes of characters differ: name the characters"
        if search.args.get("flag"):
            yield search, "the flags of a regular expression get lost"
        if isinstance(search, exp.RegexpReplace) and search.text("modifiers") != "g":
            yield search, "Spark replaces all matches: say 'g', and nothing else"


def unordered_orders(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for node in select.find_all(exp.Order):
        if not isinstance(node.parent, (exp.Query, exp.Window)):
            yield node, "the order in an aggregate gets lost: rank in a window"


def dates_apart(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for node in select.find_all(exp.DateDiff):
        if node.text("unit").upper() != "DAY":
            yield node, "dates are compared in days"


def shorthands(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for group in select.find_all(exp.Group):
        if group.args.get("all"):
            yield group, "GROUP BY ALL: write the names out"
    for order in select.find_all(exp.Ordered):
        if isinstance(order.this, exp.Var):
            yield order, "ORDER BY ALL: write the names out"
    for star in select.find_all(exp.Star):
        if any(star.args.get(name) for name in ("except_", "replace", "rename")):
            yield star, "EXCLUDE, REPLACE, RENAME: write the names out"
    for distinct in select.find_all(exp.Distinct):
        if distinct.args.get("on"):
            yield distinct, "DISTINCT ON: rank in a CTE, filter in the next"
    for join in select.find_all(exp.Join):
        if join.method or join.args.get("using"):
            yield join, "joins are written with ON"


def unknown_functions(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    for node in select.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        if node.name not in macros():
            yield node, "a function that no other engine may know"


def names_out_of_nowhere(select: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """Names that are no column of what a SELECT reads: aliases of the same SELECT, most of all."""
    known: dict[str, tuple[str, ...]] = {}
    for cte in select.find_all(exp.CTE):
        known[cte.alias] = outputs(cte.this, known)
    for scope in select.find_all(exp.Select):
        sources = sources_of(scope, known)
        visible = {name for names in sources.values() for name in names}
        for column in own_columns(scope):
            if isinstance(column.this, exp.Star):
                continue
            if column.name not in (sources.get(column.table, ()) if column.table else visible):
                yield column, "no column of what is read: an alias of the same SELECT?"


def own_columns(scope: exp.Select) -> Iterator[exp.Column]:
    """The columns that a SELECT names itself, not in its subqueries; ORDER BY may name aliases."""

    def inner(node: exp.Expr) -> bool:
        return node is not scope and isinstance(node, (exp.Query, exp.CTE))

    order = scope.args.get("order")
    for node in scope.walk(prune=inner):
        if isinstance(node, exp.Column) and node.find_ancestor(exp.Select) is scope:
            by = node.find_ancestor(exp.Order)
            if by is None or by is not order:
                yield node


def sources_of(scope: exp.Select, known: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Alias -> columns of everything in FROM and JOIN, and of what stands around a subquery."""
    found: dict[str, tuple[str, ...]] = {}
    relations = [scope.args["from_"].this] if scope.args.get("from_") else []
    relations += [join.this for join in scope.args.get("joins") or []]
    for relation in relations:
        if isinstance(relation, exp.Subquery):
            found[relation.alias] = outputs(relation.this, known)
        elif isinstance(relation, exp.Values):
            alias = relation.args["alias"]
            found[relation.alias] = tuple(column.name for column in alias.columns)
        else:
            name = f"{relation.db}.{relation.name}" if relation.db else relation.name
            found[relation.alias_or_name] = known[name] if name in known else COLUMNS[name]
    return found


def outputs(query: exp.Expr, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The columns that a query gives."""
    if isinstance(query, exp.SetOperation):
        return outputs(query.left, known)
    assert isinstance(query, exp.Select)
    sources = sources_of(query, known)
    names: list[str] = []
    for projection in query.expressions:
        if isinstance(projection, exp.Star):
            names += [name for columns in sources.values() for name in columns]
        elif isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
            names += sources[projection.table]
        else:
            names.append(projection.alias_or_name)
    return tuple(names)


Lint = Callable[[exp.Expr], Iterator[tuple[exp.Expr, str]]]

LINTS: tuple[Lint, ...] = (
    forbidden_functions,
    unguarded_division,
    uncast_aggregates,
    careless_casts,
    engine_s_own_blanks,
    loose_patterns,
    unordered_orders,
    case_beyond_ascii,
    dates_apart,
    dates_added,
    shorthands,
    unknown_functions,
    names_out_of_nowhere,
    unlisted,
)


def _parsed(query: str) -> exp.Expr:
    return sqlglot.parse_one(query, read="duckdb")


def problems(query: str) -> list[str]:
    """What in a SELECT means something else, or nothing, on another engine."""
    select = _parsed(query)
    return [f"{node.sql('duckdb')}: {why}" for lint in LINTS for node, why in lint(select)]


# --- what the lint says of the files --------------------------------------------------------------


@pytest.mark.parametrize("path", SELECTS)
def test_a_select_is_portable(path: str) -> None:
    assert problems(rendered(path)) == []


def test_all_files_are_looked_at() -> None:
    assert {"silver/fact_attend.sql", "gold/class_daily_performance.sql"} <= set(SELECTS)
    assert {path.split("/")[0] for path in SELECTS} == {"silver", "gold", "checks", "report"}


@pytest.mark.parametrize("path", SELECTS)
def test_every_placeholder_is_one_of_the_file(path: str) -> None:
    used = {found["named"] for found in Template.pattern.finditer(sql.text(path)) if found["named"]}
    assert used <= {*PLACEHOLDERS}


ENGINES_OWN = {"id_hash", "upper_case"}
"""Macros that every engine has in its own way (`student_pipeline/spark/macros.sql`)."""


@pytest.mark.parametrize("name", sorted(macros().keys() - ENGINES_OWN))
def test_a_macro_is_portable(name: str) -> None:
    """Macros are where text is cast; all other rules hold for them, too."""
    _, body = macros()[name]
    lints = [lint for lint in LINTS if lint not in (careless_casts, names_out_of_nowhere, unlisted)]
    assert [why for lint in lints for _, why in lint(exp.select(body.copy()))] == []


@pytest.mark.parametrize("name", sorted(macros()))
def test_a_macro_has_no_name_that_means_something_elsewhere(name: str) -> None:
    """sqlglot would put that in place of our macro, and say nothing."""
    arguments = ", ".join(macros()[name][0])
    (call,) = sqlglot.parse_one(f"select {name}({arguments})", read="duckdb").expressions
    assert isinstance(call, exp.Anonymous)


def unguarded_casts(body: exp.Expr, known: dict[str, tuple[Sequence[str], exp.Expr]]) -> list[str]:
    """The casts of text whose form was not looked at: by a regular expression, in a CASE, before."""
    return [
        cast.sql("duckdb")
        for cast in body.find_all(exp.TryCast)
        if not _looked_at(cast) and not _made_of_looked_at(cast.this, known)
    ]


def _looked_at(cast: exp.TryCast) -> bool:
    """Whether the CASE around the cast asks for the form of the same text before it comes to it."""
    branch = cast.find_ancestor(exp.Case)
    for condition in branch.args["ifs"] if branch else ():
        for search in condition.this.find_all(exp.RegexpLike, exp.Anonymous):
            form = search.name == "is_timestamp" or isinstance(search, exp.RegexpLike)
            text = search.this if isinstance(search, exp.RegexpLike) else search.expressions[0]
            if form and text == cast.this:
                return True
        if cast.find_ancestor(exp.If) is condition:
            return False
    return False


def _made_of_looked_at(text: exp.Expr, known: dict[str, tuple[Sequence[str], exp.Expr]]) -> bool:
    """Whether the text comes from a macro that gives only texts whose form it has looked at."""
    if not isinstance(text, exp.Anonymous) or text.name not in known:
        return False
    body = known[text.name][1]
    return (
        isinstance(body, exp.Case)
        and not body.args.get("default")
        and all(
            isinstance(branch.this, exp.RegexpLike) or branch.this.name == "is_timestamp"
            for branch in body.args["ifs"]
        )
    )


@pytest.mark.parametrize("name", sorted(macros()))
def test_a_macro_casts_text_behind_a_check_of_its_form(name: str) -> None:
    assert unguarded_casts(macros()[name][1], macros()) == []


@pytest.mark.parametrize(
    ("body", "guarded"),
    [
        ("try_cast(a as double)", False),
        ("case when a is not null then try_cast(a as double) end", False),
        ("case when regexp_matches(a, '^[0-9]$$') then try_cast(a as double) end", True),
        ("case when regexp_matches(b, '^[0-9]$$') then try_cast(a as double) end", False),
        ("case when b then try_cast(a as date) when is_timestamp(a) then null end", False),
        ("case when not is_timestamp(a) then null else try_cast(a as date) end", True),
        ("case when b then try_cast(iso_date_text(a) as date) end", True),
        ("case when b then try_cast(clean(a) as date) end", False),
    ],
)
def test_a_cast_of_unseen_text_is_caught(body: str, guarded: bool) -> None:
    (_, tree) = definitions(f"create macro m(a, b) as {body}")["m"]
    assert (unguarded_casts(tree, macros()) == []) is guarded


# Each forbidden form, and beside it how it is written.
FORMS = {
    "division": (
        "select a / b as c from t",
        "select a / nullif(b, 0) as c from t",
    ),
    "division by 0": ("select a / 0 as c from t", "select a / 100 as c from t"),
    "division in brackets": (
        "select a / (b + 1) as c from t",
        "select a / (nullif(b + 1, 0)) as c from t",
    ),
    "whole-number division": ("select a // b as c from t", "select a * b as c from t"),
    "remainder": ("select a % b as c from t", "select a - b as c from t"),
    "round": ("select round(a, 2) as c from t", "select rounded_2(a) as c from t"),
    "sum": ("select sum(a) as c from t", "select cast(sum(a) as bigint) as c from t"),
    "sum with a filter": (
        "select sum(a) filter (where b > 0) as c from t",
        "select cast(sum(a) filter (where b > 0) as bigint) as c from t",
    ),
    "sum in a window": (
        "select sum(a) over (partition by b) as c from t",
        "select cast(sum(a) over (partition by b) as bigint) as c from t",
    ),
    "sum as integer": (
        "select cast(sum(a) as hugeint) as c from t",
        "select cast(sum(a) as double) as c from t",
    ),
    "avg": (
        "select avg(cast(a as double)) as c from t",
        "select mean_of_hundredths(cast(sum(hundredths(a)) as bigint), count(*)) as c from t",
    ),
    "upper": ("select upper(a) as c from t", "select upper_case(a) as c from t"),
    "lower": ("select lower(a) = 'x' as c from t", "select upper_case(a) = 'X' as c from t"),
    "upper of more than ASCII": (
        "select upper(a) in ('Ä') as c from t",
        "select upper(a) in ('A', 'B') as c from t",
    ),
    "upper of what ligatures become": (
        "select regexp_matches(upper(a), '^1ST$') as c from t",
        "select regexp_matches(upper(a), '^2ND$') as c from t",
    ),
    "a sum of dates": (
        "select cast(a as date) + 1 as c from t",
        "select date_diff('day', a, cast(b as date)) as c from t",
    ),
    "a difference of dates": (
        "select cast(a as date) - cast(b as date) as c from t",
        "select a - b as c from t",
    ),
    "a form that nobody compared": (
        "select a::varchar similar to 'x' as c from t",
        "select cast(a as varchar) like 'x' as c from t",
    ),
    "a pattern's dot": (
        "select regexp_matches(a, 'x.z') as c from t",
        "select regexp_matches(a, 'x[^y]z') as c from t",
    ),
    "a type of one engine": (
        "select cast(a as timestamp) as c from t",
        "select cast(a as timestamptz) as c from t",
    ),
    "a frame": (
        "select max(a) over (order by b rows 1 preceding) as c from t",
        "select lag(a) over (order by b) as c from t",
    ),
    "a union by name": (
        "select a, b from t union all by name select b, a from t",
        "select a, b from t union all select a, b from t",
    ),
    "a sample": ("select a from t using sample 3", "select a from t limit 3"),
    "row numbers of the file": ("select rowid from t", "select a from t"),
    "cast to a whole number": (
        "select cast(a as integer) as c from t",
        "select cast(floor(a + 0.5) as integer) as c from t",
    ),
    "cast with colons": ("select a::bigint as c from t", "select cast(a as varchar) as c from t"),
    "text to number": ("select try_cast(a as double) as c from t", "select number(a) as c from t"),
    "text to date": (
        "select try_cast(a as date) as c from t",
        "select calendar_date(a) as c from t",
    ),
    "strptime": (
        "select strptime(a, '%d.%m.%Y') as c from t",
        "select substring(a, 7, 4) as c from t",
    ),
    "strftime": ("select strftime(a, '%Y') as c from t", "select cast(a as varchar) as c from t"),
    "date_trunc": ("select date_trunc('month', a) as c from t", "select a as c from t"),
    "interval": (
        "select a + interval 1 day as c from t",
        "select date_diff('day', a, b) as c from t",
    ),
    "date_add": (
        "select date_add(a, interval 1 day) as c from t",
        "select date_diff('day', a, b) > 1 as c from t",
    ),
    "months apart": (
        "select date_diff('month', a, b) as c from t",
        "select date_diff('day', a, b) as c from t",
    ),
    "dayofweek": ("select dayofweek(a) as c from t", "select a as c from t"),
    "isodow": ("select isodow(a) as c from t", "select a as c from t"),
    "weekday": ("select weekday(a) as c from t", "select a as c from t"),
    "extract": ("select extract(dow from a) as c from t", "select a as c from t"),
    "date_part": ("select date_part('dow', a) as c from t", "select a as c from t"),
    "current_date": ("select current_date as c from t", "select a as c from t"),
    "now": ("select now() as c from t", "select a as c from t"),
    "the clock of MySQL": (
        "select utc_timestamp(a) as c from t",
        "select instant(a) as c from t",
    ),
    "random": ("select random() as c from t", "select a as c from t"),
    "trim": ("select trim(a) as c from t", "select trim(a, ' \t\u00a0') as c from t"),
    "ltrim": ("select ltrim(a) as c from t", "select trimmed(a) as c from t"),
    "\\s": (
        r"select regexp_matches(a, '^\s') as c from t",
        "select regexp_matches(a, '^[ \t]') as c from t",
    ),
    "\\d": (
        r"select regexp_extract(a, '\d+') as c from t",
        "select regexp_extract(a, '[0-9]+') as c from t",
    ),
    "a class of characters": (
        "select regexp_replace(a, '[[:space:]]', '') as c from t",
        "select regexp_replace(a, '[ ]', '', 'g') as c from t",
    ),
    "a flag": (
        "select regexp_matches(a, 'x', 'i') as c from t",
        "select regexp_matches(a, '[xX]') as c from t",
    ),
    "the first match": (
        "select regexp_replace(a, 'x', '') as c from t",
        "select regexp_replace(a, 'x', '', 'g') as c from t",
    ),
    "a flag in a replacement": (
        "select regexp_replace(a, 'x', '', 'gi') as c from t",
        "select regexp_replace(a, '[xX]', '', 'g') as c from t",
    ),
    "~": (r"select a ~ '\w' as c from t", "select a like 'x%' as c from t"),
    "list": (
        "select list(a order by b) as c from t",
        "select row_number() over (order by b) as c from t",
    ),
    "string_agg": ("select string_agg(a, ',' order by b) as c from t", "select max(a) as c from t"),
    "first": ("select first(a order by b) as c from t", "select min(a) as c from t"),
    "within group": (
        "select percentile_cont(0.5) within group (order by a) as c from t",
        "select median(a) as c from t",
    ),
    "max with an order": (
        "select max(a order by b) as c from t",
        "select max(a) as c from t",
    ),
    "arg_max": (
        "select arg_max(a, b) as c from t",
        "select row_number() over (order by b desc) as c from t",
    ),
    "any_value": ("select any_value(a) as c from t", "select min(a) as c from t"),
    "hash": ("select hash(a) as c from t", "select md5(a) as c from t"),
    "an unknown function": ("select foo(a) as c from t", "select clean(a) as c from t"),
    "an unknown aggregate": ("select product(a) as c from t", "select count(*) as c from t"),
    "qualify": (
        "select a from t qualify row_number() over (partition by a order by b) = 1",
        "with r as (select a, row_number() over (partition by a order by b) as n from t) "
        "select a from r where n = 1",
    ),
    "group by all": (
        "select a, count(*) as c from t group by all",
        "select a, count(*) as c from t group by a",
    ),
    "order by all": ("select a from t order by all", "select a from t order by a"),
    "exclude": ("select * exclude (a) from t", "select * from t"),
    "replace": ("select * replace (1 as a) from t", "select t.* from t"),
    "rename": ("select * rename (a as c) from t", "select a as c from t"),
    "columns": ("select columns(*) from t", "select a, b from t"),
    "distinct on": ("select distinct on (a) a, b from t", "select distinct a, b from t"),
    "using": (
        "select t.a from t join t as u using (a)",
        "select t.a from t join t as u on t.a = u.a",
    ),
    "natural join": (
        "select t.a from t natural join t as u",
        "select t.a from t cross join t as u",
    ),
    "asof join": (
        "select t.a from t asof join t as u on t.a >= u.a",
        "select t.a from t left join t as u on t.a >= u.a",
    ),
    "a list": ("select [a, b] as c from t", "select a in (1, 2) as c from t"),
    "an element": ("select a[1] as c from t", "select split_part(a, ',', 1) as c from t"),
    "lateral alias": ("select a + 1 as c, c + 1 as d from t", "select a + 1 as c from t"),
    "alias in where": (
        "select a + 1 as c from t where c > 1",
        "select a + 1 as c from t where a + 1 > 1",
    ),
    "alias in having": (
        "select a, count(*) as n from t group by a having n > 1",
        "select a, count(*) as n from t group by a having count(*) > 1",
    ),
    "alias in group by": (
        "select a + 1 as c, count(*) as n from t group by c",
        "select a + 1 as c, count(*) as n from t group by a + 1",
    ),
    "alias in a window": (
        "select a + 1 as c, row_number() over (order by c) as n from t",
        "select a + 1 as c, row_number() over (order by a) as n from t order by c",
    ),
    "alias in a CTE": (
        "with r as (select a as c, c + 1 as d from t) select c, d from r",
        "with r as (select a as c, b + 1 as d from t) select c, d from r",
    ),
    "alias of a subquery": (
        "select s.c from (select a as c, c as d from t) as s",
        "select s.c from (select a as c, b as d from t) as s",
    ),
    "a column of another table": (
        "select u.c from t as u",
        "select u.a from t as u",
    ),
}


@pytest.fixture
def table_t(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with the columns a and b."""
    monkeypatch.setitem(COLUMNS, "t", ("a", "b"))


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_differs_is_caught(table_t: None, name: str) -> None:
    forbidden, _ = FORMS[name]
    assert problems(forbidden) != []


@pytest.mark.parametrize("lint", LINTS, ids=lambda lint: lint.__name__)
def test_a_lint_catches_what_it_is_for(table_t: None, lint: Lint) -> None:
    """Each has its own forbidden forms, and most of them nothing else would explain as well."""
    caught = {name for name, (forbidden, _) in FORMS.items() if [*lint(_parsed(forbidden))]}
    assert caught >= CAUGHT_BY[lint.__name__]


CAUGHT_BY = {
    "forbidden_functions": {
        *("round", "strptime", "date_trunc", "interval", "date_add", "dayofweek"),
        *("extract", "qualify", "current_date", "random", "list", "string_agg", "first"),
        *("whole-number division", "remainder", "columns", "an element"),
    },
    "unguarded_division": {"division", "division by 0", "division in brackets"},
    "uncast_aggregates": {"sum", "sum with a filter", "sum in a window", "sum as integer", "avg"},
    "careless_casts": {"cast to a whole number", "text to number", "text to date"},
    "engine_s_own_blanks": {"trim", "ltrim"},
    "loose_patterns": {"\\s", "\\d", "a class of characters", "a flag", "the first match"},
    "unordered_orders": {"list", "max with an order"},
    "case_beyond_ascii": {
        *("upper", "lower", "upper of more than ASCII", "upper of what ligatures become"),
    },
    "dates_apart": {"months apart"},
    "dates_added": {"a sum of dates", "a difference of dates"},
    "shorthands": {"group by all", "order by all", "exclude", "distinct on", "using"},
    "unknown_functions": {"hash", "now", "weekday", "an unknown function", "an unknown aggregate"},
    "names_out_of_nowhere": {"lateral alias", "alias in where", "alias in a window"},
    "unlisted": {
        *("a form that nobody compared", "a pattern's dot", "a type of one engine", "a frame"),
        *("a union by name", "a sample", "row numbers of the file", "arg_max"),
    },
}
"""Lint -> some of the forms that it catches by itself."""


@pytest.mark.parametrize("name", FORMS)
def test_the_form_that_does_not_differ_is_let_through(table_t: None, name: str) -> None:
    _, allowed = FORMS[name]
    assert problems(allowed) == []
