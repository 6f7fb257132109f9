"""How much of a file is too much."""

from dataclasses import dataclass

from student_pipeline.ingest.errors import FileRefused

MEGABYTE = 1_000_000

SMALL_BYTES = 100 * MEGABYTE
"""What unpacks to no more than this is harmless, whatever it was packed into."""


@dataclass(frozen=True)
class Limits:
    """What a file may hold at most; the rules of the same names say it.

    Attributes:
        file_megabytes: size, after unpacking.
        unpacking_ratio: size after unpacking over size as delivered.
        columns: fields of a header or of a record.
        records: records, malformed ones included.
    """

    file_megabytes: int = 10_000
    unpacking_ratio: int = 200
    columns: int = 1_000
    records: int = 100_000_000

    def require_size(self, size_bytes: int) -> None:
        """Raise `FileRefused` where a file has more bytes than the limit."""
        if size_bytes > self.file_megabytes * MEGABYTE:
            raise FileRefused(
                f"Expected at most {self.file_megabytes:,} megabytes, found "
                f"{size_bytes / MEGABYTE:,.0f} (file_megabytes_limit)."
            )

    def require_unpacked_size(self, unpacked_bytes: int, packed_bytes: int) -> None:
        """Raise `FileRefused` where a file has unpacked to too much so far."""
        if unpacked_bytes > self.file_megabytes * MEGABYTE:
            raise FileRefused(
                f"Expected a file that unpacks to at most {self.file_megabytes:,} megabytes, "
                "found one that unpacks to more (file_megabytes_limit)."
            )
        if unpacked_bytes > max(SMALL_BYTES, self.unpacking_ratio * packed_bytes):
            raise FileRefused(
                f"Expected a file that unpacks to at most {self.unpacking_ratio:,} times its size, "
                "found one that unpacks to more (unpacking_ratio_limit)."
            )

    def require_columns(self, columns: int) -> None:
        """Raise `FileRefused` where a header or a record has more fields than the limit."""
        if columns > self.columns:
            raise FileRefused(
                f"Expected at most {self.columns:,} columns, found {columns:,} "
                "(column_count_limit)."
            )

    def require_records(self, records: int) -> None:
        """Raise `FileRefused` where a file has more records than the limit."""
        if records > self.records:
            raise FileRefused(
                f"Expected at most {self.records:,} records, found {records:,} "
                "(record_count_limit)."
            )
