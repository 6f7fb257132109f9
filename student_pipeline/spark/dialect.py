"""The one SQL text, said in Spark's dialect so that it means the same.

Every query of the project is written for DuckDB. Here it is parsed, its macros are written out (Spark
Connect has none), and what Spark lacks, or means differently, is translated or refused. What comes
out runs on Spark 4 and on Sail, in a session with the settings of `CONFIGURATION`.

sqlglot alone would not do: it passes on what it does not know, and drops some of what Spark lacks.
So everything that may stand in a query is listed here, and anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from string import Template
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.generators.spark import SparkGenerator

from student_pipeline.warehouse import sql

CONFIGURATION: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
}
"""The settings of a session under which the translated text means what it shall."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FORMS = _names(
    "Add Alias And Between Boolean CTE Case Cast Column DPipe DataType Distinct Div EQ Except Exists "
    "Filter From GT GTE Group Having Identifier If In Intersect Is Join LT LTE Like Limit Literal Mul "
    "NEQ Neg Not Null NullSafeEQ NullSafeNEQ Or Order Ordered Paren Qualify Select Star Sub Subquery "
    "Table TableAlias TryCast Tuple Union Values Var Where Window With"
)
"""What may stand in a query beside functions, as sqlglot names it."""

FUNCTIONS = _names(
    "Abs Coalesce Count CountIf DateDiff Floor Greatest Lag Least Length MD5 Max Median Min Nullif "
    "Pad RegexpExtract RegexpLike RegexpReplace Replace RowNumber SplitPart Substring Sum Translate "
    "Trim UnixDate Upper"
)
"""The functions that mean the same as they are translated, as sqlglot names them."""

RENAMED = {
    "hash": "XXHASH64",  # another number, so for finding candidates only
    "now": "NOW",
    "pmod": "PMOD",
    "timestamp_micros": "TIMESTAMP_MICROS",
    "xxhash64": "XXHASH64",
}
"""Functions that sqlglot does not know: name in the text -> name in Spark."""

TYPES = {
    exp.DType.BIGINT,
    exp.DType.BOOLEAN,
    exp.DType.DATE,
    exp.DType.DOUBLE,
    exp.DType.INT,
    exp.DType.TIMESTAMPTZ,
    exp.DType.VARCHAR,
    exp.DType.TEXT,
}
"""The types that mean the same."""

_OF_SET_OPERATIONS = _names("this expression distinct with_ order limit")

PARTS: dict[str, frozenset[str]] = {
    "Cast": _names("this to"),
    "Count": _names("this big_int"),
    "Distinct": _names("expressions"),
    "Except": _OF_SET_OPERATIONS,
    "Group": _names("expressions"),
    "Intersect": _OF_SET_OPERATIONS,
    "Join": _names("this on using side kind"),
    "Lag": _names("this"),
    "Limit": _names("expression"),
    "RegexpExtract": _names("this expression group null_if_pos_overflow"),
    "RegexpLike": _names("this expression"),
    "RegexpReplace": _names("this expression replacement modifiers single_replace"),
    "Select": _names(
        "distinct expressions from_ group having joins limit order qualify where with_"
    ),
    "Star": frozenset(),
    "Table": _names("this db alias"),
    "TryCast": _names("this to safe"),
    "Union": _OF_SET_OPERATIONS,
    "Window": _names("this partition_by order over"),
}
"""Of what has parts that Spark lacks, or that sqlglot drops silently: the parts that may be there."""


class Untranslatable(Exception):
    """The SQL has something that Spark lacks, or that means another thing there."""


@lru_cache(maxsize=512)
def to_spark(query: str) -> str:
    """The query in Spark's dialect, its macros written out.

    Raises:
        Untranslatable: it is no query, or has something that Spark lacks or means differently.
    """
    return in_spark(parsed(query))


def parsed(statement: str) -> exp.Expr:
    """The parsed statement of DuckDB's dialect, its macros written out.

    Raises:
        Untranslatable: it can't be parsed, or a macro has another number of arguments.
    """
    try:
        return _written_out(sqlglot.parse_one(statement, read="duckdb"), macros())
    except SqlglotError as error:
        raise Untranslatable(
            f"The SQL can't be read: {error}. It is: {_excerpt(statement)}"
        ) from error


def in_spark(query: exp.Expr) -> str:
    """A parsed query whose macros are written out, in Spark's dialect.

    Raises:
        Untranslatable: see `to_spark`.
    """
    if not isinstance(query, exp.Query):
        raise Untranslatable(
            f"Only queries can be said in Spark's SQL, not {type(query).__name__.upper()}: "
            f"{_excerpt(query.sql('duckdb'))}"
        )
    for node, why in misfits(query):
        raise Untranslatable(
            f"{_excerpt(node.sql('duckdb'))} can't be said in Spark's SQL: {why}. "
            f"It stands in: {_excerpt(query.sql('duckdb'))}"
        )
    try:
        return _fitted(query.copy()).sql(
            _Dialect, unsupported_level=ErrorLevel.RAISE, pretty=True, max_text_width=100
        )
    except SqlglotError as error:
        raise Untranslatable(f"{error}. The SQL is: {_excerpt(query.sql('duckdb'))}") from error


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]} …"


# --- macros ---------------------------------------------------------------------------------------

Macros = Mapping[str, tuple[Sequence[str], exp.Expr]]
"""Macro -> the names of its parameters, and its body."""


@cache
def macros() -> Macros:
    """The macros as Spark gets them, each body written out."""
    found: dict[str, tuple[Sequence[str], exp.Expr]] = {}
    for name, (parameters, body) in {**definitions(sql.macros()), **_own_macros()}.items():
        found[name] = parameters, body
    # Spark's own macros take the place of others, so all have to be known before any is written out.
    while any(_calls(body, found) for _, body in found.values()):
        found = {
            name: (parameters, _written_out(body, found))
            for name, (parameters, body) in found.items()
        }
    return found


def definitions(text: str) -> dict[str, tuple[Sequence[str], exp.Expr]]:
    """The macros that a text of CREATE MACRO statements defines, as they stand there."""
    found: dict[str, tuple[Sequence[str], exp.Expr]] = {}
    for statement in sqlglot.parse(text, read="duckdb"):
        if not isinstance(statement, exp.Create) or statement.kind not in ("MACRO", "FUNCTION"):
            raise Untranslatable(f"A macro was expected: {statement}")
        function = statement.this
        names = [parameter.name for parameter in function.expressions]
        found[function.this.name] = names, statement.expression
    return found


def _own_macros() -> dict[str, tuple[Sequence[str], exp.Expr]]:
    folder = files("student_pipeline").joinpath("spark")
    lower, upper = folder.joinpath("upper_case.txt").read_text(encoding="utf-8").splitlines()
    text = Template(folder.joinpath("macros.sql").read_text(encoding="utf-8"))
    return definitions(text.substitute(lower=lower, upper=upper))


def _calls(tree: exp.Expr, known: Macros) -> bool:
    return any(call.name.lower() in known for call in tree.find_all(exp.Anonymous))


def _written_out(tree: exp.Expr, known: Macros) -> exp.Expr:
    """The tree with the bodies of macros in place of their calls."""

    def write_out(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Anonymous) or node.name.lower() not in known:
            return node
        parameters, body = known[node.name.lower()]
        if len(parameters) != len(node.expressions):
            raise Untranslatable(
                f"The macro {node.name} has {len(parameters)} parameters: {_excerpt(node.sql())}"
            )
        given = {
            name: _in_brackets(argument.transform(write_out))
            for name, argument in zip(parameters, node.expressions, strict=True)
        }

        def fill_in(part: exp.Expr) -> exp.Expr:
            if isinstance(part, exp.Column) and not part.table and part.name in given:
                return given[part.name].copy()
            return part

        return _in_brackets(body.transform(fill_in))

    return tree.transform(write_out)


def _in_brackets(node: exp.Expr) -> exp.Expr:
    loose = (exp.Binary, exp.Unary, exp.Between, exp.In)
    return exp.paren(node, copy=False) if isinstance(node, loose) else node


# --- what is refused ------------------------------------------------------------------------------


def misfits(query: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """What in a query can't be translated, and why; its macros are written out."""
    for node in query.walk():
        why = _why_not(node)
        if why:
            yield node, why


def _why_not(node: exp.Expr) -> str:
    """Why this node can't be translated, whatever stands below it; empty where it can."""
    name = type(node).__name__
    if isinstance(node, exp.Anonymous):
        known = node.name.lower() in RENAMED
        return "" if known else f"{node.name} is no function that both engines are known to have"
    if name not in FORMS and name not in FUNCTIONS:
        return f"{node.key} is nothing that both engines are known to mean alike"
    more = {part for part, value in node.args.items() if value} - PARTS.get(name, {*node.args})
    if more:
        return f"{', '.join(sorted(more)).rstrip('_')} would get lost or means something else"
    special = SPECIAL.get(type(node))
    return special(node) if special else ""


def _type_not(node: exp.Expr) -> str:
    if node.this not in {*TYPES, exp.DType.JSON}:
        return f"the type {node.sql('duckdb')} is another one"
    if node.this == exp.DType.TIMESTAMPTZ and isinstance(node.parent, exp.TryCast):
        return "times of day are read differently: use the macro instant"
    return ""


def _pattern_not(node: exp.Expr) -> str:
    pattern = text_of(node.expression)
    if pattern is None:
        return "its pattern is not written out"
    if re.search(r"\\[^.]|\[:|\(\?|&&|\[\[|[^\\]\.", pattern):
        return "its pattern means different things"
    if isinstance(node, exp.RegexpReplace):
        if node.text("modifiers") != "g":
            return "Spark replaces every match: say 'g'"
        replacement = text_of(node.args.get("replacement"))
        if replacement is None or re.search(r"[\\$]", replacement):
            return "its replacement means different things"
    return ""


def _order_not(node: exp.Expr) -> str:
    inside = isinstance(node.parent, (exp.Query, exp.Window))
    return "" if inside else "the order in an aggregate gets lost"


SPECIAL: dict[type[exp.Expr], Callable[[exp.Expr], str]] = {
    exp.Column: lambda node: "rows have no number" if node.name.lower() == "rowid" else "",
    exp.DataType: _type_not,
    exp.DateDiff: lambda node: (
        "" if node.text("unit").upper() == "DAY" else "dates are compared in days"
    ),
    exp.Order: _order_not,
    exp.RegexpExtract: _pattern_not,
    exp.RegexpLike: _pattern_not,
    exp.RegexpReplace: _pattern_not,
    exp.Trim: lambda node: "" if node.expression else "it trims other blanks",
    exp.Var: lambda node: (
        "names are to be written out" if isinstance(node.parent, exp.Ordered) else ""
    ),
}
"""Kind of node -> a function that tells why one can't be translated."""


# --- what is translated ---------------------------------------------------------------------------


def _fitted(query: exp.Expr) -> exp.Expr:
    """The query with what has to be said differently; changed in place."""
    for node in list(query.walk()):
        if isinstance(node, (exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace)):
            pattern = text_of(node.expression) or ""
            # Java's $ stands before a line feed at the end, too.
            node.set("expression", exp.Literal.string(re.sub(r"(?<!\\)\$", r"\\z", pattern)))
        elif isinstance(node, exp.DataType) and node.this == exp.DType.JSON:
            node.set("this", exp.DType.VARCHAR)
        elif isinstance(node, exp.CTE):
            node.set("materialized", None)
        elif isinstance(node, exp.Anonymous):
            node.set("this", RENAMED[node.name.lower()])
    return query


def text_of(node: exp.Expr | None) -> str | None:
    """The text of a literal, or of literals that are joined."""
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    if isinstance(node, exp.Paren):
        return text_of(node.this)
    if isinstance(node, exp.DPipe):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None or right is None else left + right
    return None


_ESCAPES = {
    "\\": "\\\\",
    "'": "\\'",
    # Spark would look for a setting in ${…}.
    "$": "\\u0024",
    **{blank: f"\\u{ord(blank):04x}" for blank in sql.BLANKS if blank != " "},
    **{chr(code): f"\\u{code:04x}" for code in (*range(0x20), 0x7F)},
}


class _Generator(SparkGenerator):
    TRANSFORMS: ClassVar = {
        **SparkGenerator.TRANSFORMS,
        # With the unit named, Spark goes by way of timestamps.
        exp.DateDiff: lambda self, node: self.func("DATEDIFF", node.this, node.expression),
        exp.UnixDate: lambda self, node: self.func("UNIX_DATE", node.this),
    }

    def escape_str(self, text: str, *args: object, **options: object) -> str:
        return "".join(_ESCAPES.get(character, character) for character in text)


class _Dialect(Spark):
    Generator = _Generator
