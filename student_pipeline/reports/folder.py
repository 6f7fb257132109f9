"""The folder that people read. A file in it is the old one or the new one at any instant."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field

from student_pipeline import permissions
from student_pipeline.disk import to_disk


class PublishFolder(dg.ConfigurableResource):
    """Where the gold tables and the report are published. It belongs to one warehouse."""

    path: str = Field(description="The folder; it is made when missing.")

    @property
    def folder(self) -> Path:
        return Path(self.path)

    @contextmanager
    def new_files(self, *names: str) -> Iterator[dict[str, Path]]:
        """Drafts that become the files of these names, one right after the other, at the end.

        The drafts lie beside the files, under names that no reader looks for. When the block
        raises, all files stay as they were. A draft that a killed run left is taken away first.

        Yields:
            name -> the draft to write. There is no file at its place yet.

        Raises:
            OSError: the folder can't be made or written.
        """
        drafts = {name: self.folder / f".{name}.tmp" for name in names}
        try:
            permissions.make_publish_folder(self.folder)
            _remove(drafts)
            yield drafts
            for draft in drafts.values():
                permissions.publish(draft)
                to_disk(draft)
            for name in names:  # all can be replaced, or none is
                if (self.folder / name).is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
            for name, draft in drafts.items():
                os.replace(draft, self.folder / name)
            to_disk(self.folder)
        except BaseException:
            if self.folder.is_dir():
                _remove(drafts)
            raise


def _remove(drafts: dict[str, Path]) -> None:
    for draft in drafts.values():
        draft.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}.wal").unlink(missing_ok=True)  # of a DuckDB file
