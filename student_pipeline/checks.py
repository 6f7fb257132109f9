"""The asset checks: generic ones made from the declarations, and the business ones by name.

All checks of a table (and of its quarantine) are one step of the run. They look at all rows, or at
those that changed since they passed (`scope`). An error stops what is built from the table; a warning
never does. A failed check names counts and up to ten keys; ids, classes
and dates only, never a student's name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import dagster as dg
import duckdb

from student_pipeline import tables
from student_pipeline.assets.table_asset import POOL
from student_pipeline.ingest.delivery import LandingFolder
from student_pipeline.ingest.discovery import patterns
from student_pipeline.ingest.layout import without_headers
from student_pipeline.scope import Scope, last_warning, note_failed, note_passed, scope_of
from student_pipeline.settings import Rules
from student_pipeline.sources import PRESENT_STATUSES, SOURCES
from student_pipeline.tables import Column, Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import (
    Warehouse,
    sentence_of,
    tried_again_if_it_can_pass,
)
from student_pipeline.warehouse.strategies import count, stored_columns

MOST_KEYS = 10
"""A failed check names up to this many keys."""


@dataclass(frozen=True)
class Surroundings:
    """What checks look at, beside the table."""

    connection: duckdb.DuckDBPyConnection
    rules: Rules
    landing: LandingFolder
    scope: Scope


@dataclass(frozen=True)
class Finding:
    """What a check found. `warning` makes a failure one that stops nothing."""

    passed: bool
    sentence: str
    metadata: dict[str, Any] = field(default_factory=dict)
    warning: bool = False


@dataclass(frozen=True)
class Check:
    """One asset check of a table.

    Attributes:
        description: what it proves, for the UI.
        warning: a failure warns only.
        rows_decide: what it finds depends on rows of the table alone (and on those that the table
            is made of): where these did not change, what it found last still holds.
    """

    table: Table
    name: str
    description: str
    find: Callable[[Surroundings], Finding]
    warning: bool = False
    rows_decide: bool = False


def table_checks(table: Table) -> dg.AssetChecksDefinition:
    """All checks of a table, and of its quarantine, as one step."""
    checks = _checks_of(table) + (_checks_of(table.quarantine) if table.quarantine else [])
    by_key = {(_key(check), check.name): check for check in checks}

    @dg.multi_asset_check(
        name=f"{table.schema}_{table.name}_checks",
        specs=[
            dg.AssetCheckSpec(
                name=check.name,
                asset=_key(check),
                description=check.description,
                blocking=not check.warning,
            )
            for check in checks
        ],
        can_subset=True,
        pool=POOL,
    )
    def run_checks(
        context: dg.AssetCheckExecutionContext,
        warehouse: Warehouse,
        rules: Rules,
        landing: LandingFolder,
    ) -> Iterator[dg.AssetCheckResult]:
        selected = context.selected_asset_check_keys
        with tried_again_if_it_can_pass(), warehouse.get_connection() as connection:
            scope = Scope("whole")
            if len(selected) == len(by_key):
                scope = scope_of(connection, table, context.run.run_id)
            surroundings = Surroundings(connection, rules, landing, scope)
            failed, warnings = False, {}
            for (asset_key, name), check in by_key.items():
                if dg.AssetCheckKey(asset_key, name) in selected:
                    found = _look(check, surroundings)
                    warning = check.warning or found.warning
                    failed |= not (found.passed or warning)
                    if check.rows_decide and not found.passed:
                        warnings[name] = found.sentence
                    yield dg.AssetCheckResult(
                        asset_key=asset_key,
                        check_name=name,
                        passed=found.passed,
                        severity=(
                            dg.AssetCheckSeverity.WARN if warning else dg.AssetCheckSeverity.ERROR
                        ),
                        description=found.sentence,
                        metadata=found.metadata,
                    )
            with warehouse.transaction():
                if failed:
                    note_failed(connection, table)
                else:
                    note_passed(connection, table, scope, warnings)

    return run_checks


def _look(check: Check, around: Surroundings) -> Finding:
    """What a check finds; a table that it can't even query has failed it.

    Without this, the first of such checks would keep the others of the step from being heard.
    """
    try:
        if check.rows_decide and around.scope.way == "unchanged":
            warned = last_warning(around.connection, check.table, check.name)
            return Finding(not warned, warned or "No row changed since this was checked last.")
        return check.find(around)
    except duckdb.IOException:
        raise
    except duckdb.Error as error:
        return Finding(False, f"{check.table.full_name} can't be checked. {sentence_of(error)}")


def _key(check: Check) -> dg.AssetKey:
    return dg.AssetKey(check.table.asset_key)


def _checks_of(table: Table) -> list[Check]:
    return [*_generic_checks(table), *_business_checks(table)]


# --- made from the declaration --------------------------------------------------------------------


def _generic_checks(table: Table) -> list[Check]:
    rules = _row_rules(table)
    checks = [Check(table, "schema", "Columns and types are as declared.", _schema(table))]
    if table.schema != "quarantine":  # rows that leave it were mended: good news, no warning
        checks += [
            Check(table, "not_empty", "The table has rows.", _not_empty(table)),
            Check(
                table,
                "row_count_kept",
                "The table did not lose more than half of its rows (configurable).",
                _row_count_kept(table),
                warning=True,
            ),
        ]
    if table.key:
        names = ", ".join(table.key)
        checks.append(
            Check(
                table,
                "key_unique",
                f"{names}: unique and not null.",
                _unique(table),
                rows_decide=True,
            )
        )
    checks += [
        Check(
            table,
            name,
            description,
            _rows_meet(table, name, rules[name]),
            rows_decide=table.schema != "quarantine",
        )
        for name, description in (
            ("required_columns", "Columns that must have a value have one."),
            ("accepted_values", "Columns with a vocabulary hold its words only."),
            ("ranges", "Numbers are within their bounds."),
            ("foreign_keys", "Every student is one of silver.dim_student."),
        )
        if rules[name]
    ]
    return checks


def _row_rules(table: Table) -> dict[str, dict[str, str]]:
    """Check name -> column -> the SQL condition of a row that breaks its rule."""
    rules: dict[str, dict[str, str]] = {
        "required_columns": {},
        "accepted_values": {},
        "ranges": {},
        "foreign_keys": {},
    }
    for column in table.columns:
        name = sql.identifier(column.name)
        if column.required and column.name not in table.key:
            rules["required_columns"][column.name] = f"{name} IS NULL"
        if column.allowed:
            words = ", ".join(map(sql.literal, column.allowed))
            rules["accepted_values"][column.name] = f"{name} NOT IN ({words})"
        bounds = _out_of_bounds(column)
        if bounds:
            rules["ranges"][column.name] = bounds
        if column.references:
            parent = tables.TABLES[column.references]
            rules["foreign_keys"][column.name] = (
                f"{name} NOT IN (SELECT {parent.key[0]} FROM {parent.full_name} "
                f"WHERE {parent.key[0]} IS NOT NULL)"
            )
    return rules


def _out_of_bounds(column: Column) -> str:
    name = sql.identifier(column.name)
    bounds = []
    if column.minimum is not None:
        bounds.append(f"{name} < {column.minimum}")
    if column.maximum is not None:
        bounds.append(f"{name} > {column.maximum}")
    return " OR ".join(bounds)


def _rows_meet(
    table: Table, check: str, conditions: dict[str, str]
) -> Callable[[Surroundings], Finding]:
    """Every row meets the conditions; they are counted in one scan."""

    def find(around: Surroundings) -> Finding:
        rows = around.scope.rows(table)
        if len(conditions) == 1:  # a subquery may stand in WHERE on every engine, in FILTER not
            (condition,) = conditions.values()
            query = f"SELECT count(*) FROM {rows} AS stored WHERE {condition}"
        else:
            counts = ", ".join(f"count(*) FILTER (WHERE {each})" for each in conditions.values())
            query = f"SELECT {counts} FROM {rows} AS stored"
        row = around.connection.execute(query).fetchone()
        broken = {name: n for name, n in zip(conditions, row or (), strict=True) if n}
        if not broken:
            return Finding(True, "Every row is as it should be.")
        somewhere = " OR ".join(f"({conditions[name]})" for name in broken)
        keys = _some_keys(around, table, somewhere)
        columns = ", ".join(
            f"{name} in {n:,} row{'s' if n > 1 else ''}" for name, n in broken.items()
        )
        return Finding(
            False, f"{check.replace('_', ' ')}: {columns}. {_named(keys)}", {**broken, "keys": keys}
        )

    return find


def _some_keys(around: Surroundings, table: Table, condition: str) -> list[str]:
    """The keys of up to ten rows; where a table has no key, where the rows came from."""
    columns = table.key or ("_source_file", "_source_row")
    rows = around.connection.execute(
        f"SELECT {sql.names(columns)} FROM {around.scope.rows(table)} AS stored "
        f"WHERE {condition} ORDER BY {sql.names(columns)} LIMIT {MOST_KEYS}"
    ).fetchall()
    return [" ".join(str(part) for part in row if part is not None) for row in rows]


def _named(keys: list[str]) -> str:
    return f"Among them: {', '.join(keys)}."


def _schema(table: Table) -> Callable[[Surroundings], Finding]:
    def find(around: Surroundings) -> Finding:
        stored = stored_columns(around.connection, table)
        declared = [(column.name, column.type) for column in table.columns]
        if stored == declared:
            return Finding(True, f"All {len(declared)} columns are as declared.")
        missing = [f"{n} {t}" for n, t in declared if (n, t) not in stored]
        extra = [f"{n} {t}" for n, t in stored if (n, t) not in declared]
        return Finding(
            False,
            f"The columns of {table.full_name} are not as declared: "
            f"missing {', '.join(missing) or 'none'}; unexpected {', '.join(extra) or 'none'}"
            f"{'' if missing or extra else '; the order differs'}.",
            {"missing": missing, "unexpected": extra},
        )

    return find


def _state(around: Surroundings, table: Table) -> tuple[int, int | None, bool, str]:
    """(rows, rows before, ever had rows, run) of the last materialization."""
    row = around.connection.execute(
        "SELECT row_count, previous_row_count, ever_had_rows, run_id FROM ops.table_state "
        "WHERE table_name = ?",
        [table.full_name],
    ).fetchone()
    if row is None:
        return 0, None, False, ""
    return row


def _not_empty(table: Table) -> Callable[[Surroundings], Finding]:
    """`dim_student` must have rows; another table must not have lost them all."""

    def find(around: Surroundings) -> Finding:
        rows = count(around.connection, table)
        if rows:
            return Finding(True, f"{rows:,} rows.", {"rows": rows})
        if table is tables.BRONZE_STUDENTS and not _has_files(around):
            looked_for = "; ".join(patterns(source) for source in SOURCES.values())
            return Finding(
                False,
                f"There is no source file in the landing folder {around.landing.url}, and no "
                f"student in the warehouse. Looked for {looked_for}.",
            )
        if table is tables.DIM_STUDENT:
            return Finding(False, "There is no student: nothing can be built without a roster.")
        if _state(around, table)[2]:
            return Finding(False, f"{table.full_name} had rows before and has none now.")
        return Finding(False, f"{table.full_name} has no rows yet.", warning=True)

    return find


def _has_files(around: Surroundings) -> bool:
    return any(
        not file.passed_over
        for source in SOURCES.values()
        for file in around.landing.delivery(source).files
    )


def _row_count_kept(table: Table) -> Callable[[Surroundings], Finding]:
    def find(around: Surroundings) -> Finding:
        rows, before, _, _ = _state(around, table)
        limit = around.rules.row_drop_warning_share
        if before and before - rows > Fraction(str(limit)) * before:
            return Finding(
                False,
                f"{table.full_name} has {rows:,} rows, {before:,} before: "
                f"more than {limit:.0%} are gone.",
                {"rows": rows, "rows_before": before},
            )
        return Finding(True, f"{rows:,} rows, {before or 0:,} before.", {"rows": rows})

    return find


def _unique(table: Table) -> Callable[[Surroundings], Finding]:
    columns = [sql.identifier(name) for name in table.key]
    nulls = " OR ".join(f"{column} IS NULL" for column in columns)
    named = " || ' ' || ".join(f"coalesce(CAST({column} AS VARCHAR), 'null')" for column in columns)

    def find(around: Surroundings) -> Finding:
        query = (
            f"SELECT {named} || ' (' || count(*) || 'x)' AS key "
            f"FROM {around.scope.rows(table)} AS stored "
            f"GROUP BY {', '.join(columns)} HAVING count(*) > 1 OR {nulls}"
        )
        return _no_offenders(
            around,
            query,
            "Every key stands once.",
            ("key that is null or stands twice", "keys that are null or stand twice"),
        )

    return find


# --- the business rules ---------------------------------------------------------------------------


def _no_offenders(around: Surroundings, query: str, good: str, bad: tuple[str, str]) -> Finding:
    """Whether a query that yields the `key` of whatever breaks a rule yields nothing.

    Args:
        bad: what to say behind the number 1, and behind any other.
    """
    found = around.connection.execute(
        f"SELECT coalesce(key, 'null') AS named FROM ({query}) AS offenders "
        f"ORDER BY named LIMIT {MOST_KEYS + 1}"
    ).fetchall()
    if not found:
        return Finding(True, good)
    number = len(found)
    if number > MOST_KEYS:
        number = sql.scalar(around.connection, f"SELECT count(*) FROM ({query}) AS offenders")
    keys = [key for (key,) in found[:MOST_KEYS]]
    sentence = f"{number:,} {bad[number > 1]}. {_named(keys)}"
    return Finding(False, sentence, {"offenders": number, "keys": keys})


def _from_file(
    path: str, good: str, bad: tuple[str, str], **values: object
) -> Callable[[Surroundings], Finding]:
    """Whether the query of a file yields nothing.

    Args:
        values: what to fill in; a function is given the surroundings.
    """

    def find(around: Surroundings) -> Finding:
        filled = {
            name: value(around) if callable(value) else value for name, value in values.items()
        }
        return _no_offenders(around, sql.render(f"checks/{path}", **filled), good, bad)

    return find


def _rows(table: Table) -> Callable[[Surroundings], str]:
    """The rows of a table that the checks look at, for `_from_file`."""
    return lambda around: around.scope.rows(table)


_SILVER_OF = {table.source: table for table in tables.SILVER}


def _business_checks(table: Table) -> list[Check]:
    if table.schema == "bronze":
        return _bronze_checks(table)
    if table.schema == "quarantine":
        return _quarantine_checks(table)
    checks: list[Check] = []
    if table.schema == "silver":
        bronze = tables.TABLES[f"bronze.{table.source}"]
        quarantine = tables.TABLES[f"quarantine.{table.source}"]
        checks.append(
            Check(
                table,
                "nothing_is_lost",
                "Latest versions in bronze = rows in silver + refused rows in the quarantine.",
                _nothing_is_lost(table, bronze, quarantine),
                rows_decide=True,
            )
        )
    if table in tables.FACTS:
        checks += _fact_checks(table)
    if table is tables.CLASS_DAILY_PERFORMANCE:
        checks += _class_checks(table)
    if table is tables.STUDENT_PERFORMANCE_SUMMARY:
        checks += _student_checks(table)
    return checks


def _nothing_is_lost(
    table: Table, bronze: Table, quarantine: Table
) -> Callable[[Surroundings], Finding]:
    def find(around: Surroundings) -> Finding:
        if around.scope.way == "whole":
            path, bad = "nothing_is_lost.sql", ("equation does not hold", "equations do not hold")
        else:
            path, bad = (
                "nothing_new_is_lost.sql",
                (
                    "id is not once in silver or in the quarantine",
                    "ids are not once in silver or in the quarantine",
                ),
            )
        good = "Every latest version is in silver or in the quarantine."
        return _from_file(
            path,
            good,
            bad,
            id=bronze.columns[0].name,
            key=table.key[0],
            changes=around.scope.changes(table) if around.scope.way == "changes" else "",
            bronze=around.scope.rows(bronze),
            silver=around.scope.rows(table),
            quarantine=quarantine.full_name,
        )(around)

    return find


def _bronze_checks(table: Table) -> list[Check]:
    checks = [
        Check(
            table,
            "files_readable",
            "Every file of the source could be read and loaded.",
            _files_readable(table),
        ),
        Check(
            table,
            "columns_known",
            "The files that were loaded last have the columns that silver uses, under known headers.",
            _columns_known(table),
            warning=True,
        ),
    ]
    if table is tables.BRONZE_STUDENTS:
        checks.append(
            Check(
                table,
                "still_in_roster",
                "Every student is in the roster file that was loaded last.",
                _still_in_roster(),
                warning=True,
            )
        )
    else:
        checks.append(
            Check(
                table,
                "one_student_per_id",
                "Every record id was delivered for one student only.",
                _one_student_per_id(table),
                warning=True,
                rows_decide=True,
            )
        )
    return checks


def _one_student_per_id(table: Table) -> Callable[[Surroundings], Finding]:
    find_new = _from_file(
        "one_student_per_id.sql",
        "Every id belongs to one student.",
        (
            "id was delivered for different students; the latest version counts",
            "ids were delivered for different students; the latest version counts",
        ),
        id=table.columns[0].name,
        bronze=lambda around: around.scope.versions(table),
    )

    def find(around: Surroundings) -> Finding:
        found = find_new(around)
        if found.passed and around.scope.way == "changes":  # the ids of before are as they were
            warned = last_warning(around.connection, table, "one_student_per_id")
            return Finding(False, warned) if warned else found
        return found

    return find


def _files_readable(table: Table) -> Callable[[Surroundings], Finding]:
    """No file was refused in the run that loaded the table last."""

    def find(around: Surroundings) -> Finding:
        run_id = _state(around, table)[3]
        refused = around.connection.execute(
            "SELECT path, message FROM ops.source_files "
            "WHERE source = ? AND status = 'refused' AND run_id = ? ORDER BY path",
            [table.source, run_id],
        ).fetchall()
        if not refused:
            return Finding(True, "No file was refused.")
        sentences = " ".join(f"{path}: {message}" for path, message in refused)
        return Finding(
            False,
            f"{len(refused)} file{'s were' if len(refused) > 1 else ' was'} refused. {sentences} "
            "Mend or remove what was refused; everything else was loaded.",
            {"refused": [path for path, _ in refused]},
        )

    return find


def _columns_known(table: Table) -> Callable[[Surroundings], Finding]:
    """No file lacked a column in the run that loaded files of the source last."""

    def find(around: Surroundings) -> Finding:
        loaded = "FROM ops.source_files WHERE source = $1 AND status = 'loaded'"
        notes = around.connection.execute(
            f"SELECT path, message {loaded} AND message IS NOT NULL "
            f"AND run_id = (SELECT arg_max(run_id, _load_id) {loaded}) ORDER BY path",
            [table.source],
        ).fetchall()
        if not notes:
            return Finding(True, "No column is missing.")
        named = [f"{path}: {without_headers(note)}" for path, note in notes[:MOST_KEYS]]
        files = "file lacks" if len(notes) == 1 else "files lack"
        return Finding(
            False,
            f"{len(notes):,} {files} columns that silver uses. {' '.join(named)} "
            "Where a column stands under another header, add that to header_aliases in rules.yaml "
            "and deliver the file anew, changed. The ledger ops.source_files names the headers.",
            {"files": len(notes), "lacking": [path for path, _ in notes[:MOST_KEYS]]},
        )

    return find


def _still_in_roster() -> Callable[[Surroundings], Finding]:
    find_leavers = _from_file(
        "left_the_roster.sql",
        "Every student is in the latest roster.",
        (
            "student is not in the roster that was loaded last and stays as before",
            "students are not in the roster that was loaded last; they stay as they were",
        ),
        students=tables.BRONZE_STUDENTS.full_name,
    )

    def find(around: Surroundings) -> Finding:
        if not stored_columns(around.connection, tables.LATEST_ROSTER):
            return Finding(True, "No roster was loaded yet.")
        return find_leavers(around)

    return find


def _quarantine_checks(table: Table) -> list[Check]:
    return [
        Check(
            table,
            "quarantined_share",
            "No reason refuses more than 5 % of the source (configurable).",
            _from_file(
                "quarantined_share.sql",
                "No reason stands out.",
                (
                    "reason refuses more rows than expected",
                    "reasons refuse more rows than expected",
                ),
                quarantine=table.full_name,
                silver=_SILVER_OF[table.source].full_name,
                limit=lambda around: around.rules.quarantine_warning_share,
            ),
            warning=True,
        )
    ]


def _fact_checks(table: Table) -> list[Check]:
    checks = [
        Check(
            table,
            "class_of_student",
            "Every record has the class of its student.",
            _from_file(
                "class_of_student.sql",
                "Every record has its student's class.",
                (
                    "record has another class than its student",
                    "records have another class than their student",
                ),
                id=table.key[0],
                fact=_rows(table),
                dim_student=tables.DIM_STUDENT.full_name,
            ),
            rows_decide=True,
        ),
        Check(
            table,
            "recent_data",
            "The newest record is not more school days old than expected (configurable).",
            _recent(table),
            warning=True,
        ),
    ]
    if table is tables.FACT_ATTEND:
        checks += [
            Check(
                table,
                "one_counted_record",
                "Exactly one record counts for each student and day.",
                _from_file(
                    "one_counted_record.sql",
                    "One record counts for each student and day.",
                    (
                        "student-day does not have exactly one record that counts",
                        "student-days don't have exactly one record that counts",
                    ),
                    fact_attend=lambda around: around.scope.student_days(table),
                ),
                rows_decide=True,
            ),
            Check(
                table,
                "presence_follows_status",
                "PRESENT and LATE are present, the others absent.",
                _from_file(
                    "presence_follows_status.sql",
                    "Presence follows from the status.",
                    (
                        "record whose presence does not follow from the status",
                        "records whose presence does not follow from the status",
                    ),
                    fact_attend=_rows(table),
                    present_statuses=", ".join(map(sql.literal, PRESENT_STATUSES)),
                ),
                rows_decide=True,
            ),
        ]
    else:
        checks.append(
            Check(
                table,
                "score_in_range",
                "Scores are within 0 and their maximum, and the percentage follows from both.",
                _from_file(
                    "score_in_range.sql",
                    "Every score is within its range.",
                    (
                        "assessment has a score out of range or a wrong percentage",
                        "assessments have a score out of range or a wrong percentage",
                    ),
                    fact_assess=_rows(table),
                ),
                rows_decide=True,
            )
        )
    return checks


def _recent(table: Table) -> Callable[[Surroundings], Finding]:
    def find(around: Surroundings) -> Finding:
        newest_day = f"SELECT max({table.date}) FROM {table.full_name}"
        row = around.connection.execute(newest_day).fetchone()
        newest = row[0] if row else None
        if newest is None:
            return Finding(True, "There is no record yet.")
        age = around.rules.calendar().school_days_after(newest, around.landing.now().date())
        sentence = (
            f"The newest record of {table.full_name} is of {newest}: "
            f"{age} school day{'' if age == 1 else 's'} ago."
        )
        return Finding(
            age <= around.rules.expected_data_age_days,
            sentence,
            {"newest": str(newest), "school_days_old": age},
        )

    return find


def _gold_check(
    table: Table,
    name: str,
    description: str,
    good: str,
    bad: tuple[str, str],
    **values: object,
) -> Check:
    """A check of a gold table whose query is the file of the same name."""
    text = sql.text(f"checks/{name}.sql")
    used = {
        other.name: other.full_name
        for other in (*tables.SILVER, *tables.GOLD)
        if f"${other.name}" in text
    }
    find = _from_file(f"{name}.sql", good, bad, **{**used, **values})
    return Check(table, name, description, find, rows_decide=True)


def _class_checks(table: Table) -> list[Check]:
    return [
        _gold_check(
            table,
            "daily_equations",
            "present + absent = students with attendance; rates follow from the counts.",
            "Counts and rates agree.",
            (
                "class-day whose counts and rates don't agree",
                "class-days whose counts and rates don't agree",
            ),
        ),
        _gold_check(
            table,
            "daily_totals",
            "Sums over all class-days are what silver holds.",
            "Gold and silver agree.",
            ("sum differs from silver", "sums differ from silver"),
        ),
        _gold_check(
            table,
            "no_class_day_missing",
            "Every class and date of silver has its row, and no other.",
            "No class and no date is missing.",
            ("class-day is missing or has no source", "class-days are missing or have no source"),
            fact_attend=lambda around: around.scope.class_days(tables.FACT_ATTEND),
            fact_assess=lambda around: around.scope.class_days(tables.FACT_ASSESS),
            class_daily_performance=lambda around: around.scope.class_days(table),
        ),
        Check(
            table,
            "coverage_above_one",
            "No class has more students with attendance than active students.",
            _from_file(
                "coverage_above_one.sql",
                "Attendance is of active students.",
                (
                    "class-day with more students than the class has active ones (leavers' records)",
                    "class-days with more students than the class has active ones (leavers' records)",
                ),
                class_daily_performance=table.full_name,
            ),
            warning=True,
            rows_decide=True,
        ),
    ]


def _student_checks(table: Table) -> list[Check]:
    return [
        _gold_check(
            table,
            "student_equations",
            "present + absent = days; rate and chronic absence follow from the counts.",
            "Counts and rates agree.",
            (
                "student whose counts and rates don't agree",
                "students whose counts and rates don't agree",
            ),
            min_days=lambda around: around.rules.chronic_absence_min_days,
            chronic_percent=lambda around: around.rules.chronic_absence_percent,
        ),
        _gold_check(
            table,
            "student_totals",
            "Sums over all students are what silver holds.",
            "Gold and silver agree.",
            ("sum differs from silver", "sums differ from silver"),
        ),
        _gold_check(
            table,
            "no_student_missing",
            "Every student has a summary, with class and activity as in silver; nobody else has.",
            "No student is missing.",
            (
                "student is missing, unknown or in another class",
                "students are missing, unknown or in another class",
            ),
        ),
    ]


CHECKS = [table_checks(table) for table in (*tables.BRONZE, *tables.SILVER, *tables.GOLD)]


def proofs() -> dict[tuple[str, str], str]:
    """(asset as `schema/table`, check) -> what the check proves, in one sentence."""
    return {
        (spec.asset_key.to_user_string(), spec.name): spec.description or ""
        for checks in CHECKS
        for spec in checks.check_specs
    }
