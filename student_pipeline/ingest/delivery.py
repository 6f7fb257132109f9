"""Loading what is new in the landing folder: the `Feed` of a bronze table."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from pydantic import Field

from student_pipeline import tables
from student_pipeline.ingest import discovery, snapshot, staging
from student_pipeline.ingest.errors import FileRefused, SourceChanged
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.ledger import Entry, Ledger, Loaded
from student_pipeline.ingest.limits import Limits
from student_pipeline.settings import Rules
from student_pipeline.sources import STUDENTS, Source
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.strategies import Written, ensure_table


class LandingFolder(dg.ConfigurableResource):
    """Where schools put their files."""

    url: str = Field(description="A folder, or an fsspec URL such as s3://bucket/prefix.")
    fixed_time: str | None = Field(
        default=None,
        description="Take this instant (ISO 8601) for now: for tests and for replaying a day.",
    )
    rules: dg.ResourceDependency[Rules]

    def now(self) -> datetime:
        """The time that loaded rows get, in UTC."""
        if self.fixed_time:
            try:
                fixed = datetime.fromisoformat(self.fixed_time.replace("Z", "+00:00"))
            except ValueError as error:
                raise dg.Failure(
                    f"fixed_time: expected an instant such as 2026-06-30T06:00:00Z, "
                    f"found {self.fixed_time!r}.",
                    allow_retries=False,
                ) from error
            zoned = fixed if fixed.tzinfo else fixed.replace(tzinfo=timezone.utc)
            return zoned.astimezone(timezone.utc)
        return datetime.now(timezone.utc)

    def delivery(self, source: Source) -> "Delivery":
        """The files of a source.

        Raises:
            Failure: the landing folder is not there.
        """
        try:
            files = discovery.find_files(self.url, source)
        except discovery.LandingError as error:
            raise dg.Failure(str(error), allow_retries=error.may_pass) from error
        aliases = self.rules.header_aliases.get(source.name, {})
        limits = Limits(
            file_megabytes=self.rules.file_megabytes_limit,
            unpacking_ratio=self.rules.unpacking_ratio_limit,
            columns=self.rules.column_count_limit,
            records=self.rules.record_count_limit,
        )
        return Delivery(
            source=source,
            files=files,
            matcher=HeaderMatcher(source, aliases, limits),
            malformed_share_limit=self.rules.malformed_share_limit,
            now=self.now(),
            landing=self.url,
        )


@dataclass(frozen=True)
class Delivery:
    """The files of one source, in the order in which they are loaded.

    Attributes:
        landing: the landing folder, as it was set.
    """

    source: Source
    files: list[discovery.FoundFile]
    matcher: HeaderMatcher
    malformed_share_limit: float
    now: datetime
    landing: str = ""

    def write(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: Callable[[str], Written],
        run_id: str,
    ) -> Mapping[str, Any]:
        """Load every file whose content is not the one loaded last; record each in the ledger.

        A file that is refused leaves no rows; the others are loaded all the same.

        Returns: counts of files and rows, for the UI.

        Raises:
            Failure: a file changed while it was read; nothing of the delivery is kept.
        """
        ledger = Ledger(connection)
        loaded = ledger.loaded(self.source.name)
        entries = []
        replaced = 0

        def store_and_count(incoming: str) -> Written:
            nonlocal replaced
            written = store(incoming)
            replaced += written.removed
            return written

        for file in self.files:
            try:
                entry = self._load(
                    connection, ledger, store_and_count, file, loaded.get(file.path), run_id
                )
            except SourceChanged as error:
                raise dg.Failure(
                    f"{error} Nothing was loaded; the next try reads it anew."
                ) from error
            if entry:
                ledger.record(entry)
                entries.append(entry)
        done = [entry for entry in entries if entry.status == "loaded"]
        return {
            "files_found": len(self.files),
            "files_loaded": len(done),
            "files_refused": sum(entry.status == "refused" for entry in entries),
            "rows_read": sum(entry.rows_read or 0 for entry in done),
            "rows_added": sum(entry.rows_appended for entry in done),
            "rows_removed": replaced,
            "rows_malformed": sum(entry.rows_rejected or 0 for entry in done),
            "bytes_read": sum(entry.size_bytes or 0 for entry in done),
        }

    def _load(
        self,
        connection: duckdb.DuckDBPyConnection,
        ledger: Ledger,
        store: Callable[[str], Written],
        file: discovery.FoundFile,
        loaded: Loaded | None,
        run_id: str,
    ) -> Entry | None:
        """Load one file; None where its content was loaded before."""
        entry = Entry(self.source.name, file.path, "refused", run_id, self.now)
        if file.passed_over:
            return replace(entry, status="passed_over", message=file.passed_over)
        with tempfile.TemporaryDirectory(prefix="student_pipeline_") as folder:
            spool = Path(folder)
            try:
                signature = snapshot.signature(file)
                if loaded and signature and signature == loaded.signature:
                    return None
                taken = snapshot.take(file, spool, self.matcher.limits)
                entry = replace(entry, size_bytes=taken.size_bytes, sha256=taken.sha256)
                if loaded and taken.sha256 == loaded.sha256:
                    taken.require_unchanged()
                    ledger.sign(loaded.load_id, signature)
                    return None
                staged = self._stage(connection, taken, spool)
                entry = replace(
                    entry,
                    encoding=staged.encoding,
                    rows_read=staged.rows,
                    rows_rejected=staged.malformed,
                )
                self.matcher.limits.require_records(staged.rows + staged.malformed)
                self.require_mostly_readable(
                    staged.rows, staged.malformed, lambda: staging.first_malformed(connection)
                )
            except FileRefused as error:
                return replace(entry, message=str(error))
        load_id = ledger.next_load_id()
        ledger.sign(load_id, signature)
        written = store(self._rows(file, load_id))
        self._keep_malformed(connection, file, load_id)
        if self.source is STUDENTS:
            self._keep_roster(connection)
        return replace(
            entry,
            status="loaded",
            message=staged.note,
            load_id=load_id,
            rows_appended=written.added,
        )

    def _stage(
        self, connection: duckdb.DuckDBPyConnection, taken: snapshot.Snapshot, spool: Path
    ) -> staging.Staged:
        """Stage a file, of which nobody may have changed a byte since it was hashed."""
        try:
            staged = staging.stage(connection, taken, self.matcher, spool)
        except Exception:
            taken.require_unchanged()  # what looked broken was perhaps only half there
            raise
        taken.require_unchanged()
        return staged

    def require_mostly_readable(self, rows: int, malformed: int, first: Callable[[], str]) -> None:
        """Raise `FileRefused` where too large a share of a file's records is malformed.

        Args:
            first: tells what is wrong with the first of them.
        """
        total = rows + malformed
        limit = Fraction(str(self.malformed_share_limit))  # 0.29 as such, not the float beside it
        if malformed > limit * total:
            raise FileRefused(
                f"Expected at most {float(limit * 100):g}% malformed records, found "
                f"{malformed} of {total}. The first: {first()}"
            )

    def _rows(self, file: discovery.FoundFile, load_id: int) -> str:
        """The staged rows as bronze holds them."""
        # Rows that an open transaction adds have row ids from some high number on.
        number = f"rowid - (SELECT min(rowid) FROM {staging.ROWS}) + 1"
        return (
            f"SELECT {sql.names(self.source.columns)}, _extra::JSON AS _extra, "
            f"{sql.literal(self.now.isoformat())}::TIMESTAMPTZ AS _ingested_at, "
            f"{sql.literal(file.path)} AS _source_file, {number} AS _source_row, "
            f"{load_id}::BIGINT AS _load_id FROM {staging.ROWS}"
        )

    def _keep_roster(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Remember who is in this roster, for the check that looks for who no longer is."""
        connection.execute(tables.LATEST_ROSTER.ddl())
        connection.execute(
            f"INSERT INTO {tables.LATEST_ROSTER.full_name} "
            f"SELECT DISTINCT clean(student_id) FROM {staging.ROWS} "
            "WHERE clean(student_id) IS NOT NULL"
        )

    def _keep_malformed(
        self, connection: duckdb.DuckDBPyConnection, file: discovery.FoundFile, load_id: int
    ) -> None:
        """Put the malformed records into the quarantine, in place of those of the last version."""
        quarantine = tables.TABLES[f"quarantine.{self.source.name}"]
        ensure_table(connection, quarantine)
        connection.execute(
            f"DELETE FROM {quarantine.full_name} "
            "WHERE reason = 'malformed_record' AND _source_file = ?",
            [file.path],
        )
        connection.execute(
            f"INSERT INTO {quarantine.full_name} BY NAME SELECT ? AS _source_file, "
            "?::BIGINT AS _load_id, 'malformed_record' AS reason, detail, raw AS _raw "
            f"FROM {staging.MALFORMED} ORDER BY line",
            [file.path, load_id],
        )
