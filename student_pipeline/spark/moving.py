"""A warehouse on Spark as one end of a transfer (`student_pipeline.transfer`)."""

from student_pipeline.fingerprint import Words


def _identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


WORDS = Words(
    text="STRING",
    identifier=_identifier,
    number_of=lambda text: (
        f"CAST(conv(substring(md5(CAST({text} AS BINARY)), 1, 15), 16, 10) AS BIGINT)"
    ),
    microseconds_of=lambda instant: f"unix_micros({instant})",
)
