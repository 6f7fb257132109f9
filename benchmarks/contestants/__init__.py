"""Who takes part: how each is started, and the environment it runs in.

Each has a folder here with what its fans would write, and with a `requirements.txt` of pinned
versions where it does not run in the pipeline's own environment.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Command:
    """What to execute, and the environment variables to add."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """One way to build the tables.

    Attributes:
        name: the folder of its files, and its key in the results.
        title: its name for people.
        start: (python, landing folder, output folder) -> the command that builds or, where
            `incremental`, brings up to date what the output folder holds.
        package: whose version is told; of the pipeline's own environment where it has no
            requirements.
    """

    name: str
    title: str
    start: Callable[[Path, Path, Path], Command]
    package: str = ""
    incremental: bool = False

    @property
    def requirements(self) -> Path:
        """The pinned versions; the file is missing for what runs in the pipeline's environment."""
        return HERE / self.name / "requirements.txt"

    @property
    def version(self) -> str:
        """The version of its package; empty where it has no package of its own."""
        if not self.package:
            return ""
        pinned = re.search(rf"^{self.package}==(\S+)$", self.requirements.read_text(), re.MULTILINE)
        if not pinned:
            raise ValueError(f"{self.requirements} does not pin {self.package}.")
        return pinned[1]


def _student_pipeline(python: Path, landing: Path, output: Path) -> Command:
    """A whole run: every check, recorded in Dagster, published."""
    return Command(
        [str(python), "-m", "student_pipeline.cli", "run"],
        {
            "STUDENT_PIPELINE_SOURCE": str(landing),
            "STUDENT_PIPELINE_WAREHOUSE": str(output / "warehouse.duckdb"),
            "STUDENT_PIPELINE_PUBLISH": str(output / "published"),
            "DAGSTER_HOME": str(output / "dagster_home"),
        },
    )


def _script(name: str) -> Callable[[Path, Path, Path], Command]:
    return lambda python, landing, output: Command(
        [str(python), str(HERE / name / "build.py"), str(landing), str(output)]
    )


def _dbt(python: Path, landing: Path, output: Path) -> Command:
    """`dbt build`: models and tests. What dbt keeps between runs lies in the output folder."""
    project = HERE / "dbt_duckdb"
    words = [str(python.with_name("dbt")), "build"]
    for option, folder in (
        ("--project-dir", project),
        ("--profiles-dir", project),
        ("--target-path", output / "target"),
        ("--log-path", output / "logs"),
    ):
        words += [option, str(folder)]
    return Command(words, {"LANDING": str(landing), "OUTPUT": str(output)})


PIPELINE = Contestant("student_pipeline", "student-pipeline", _student_pipeline, incremental=True)
DBT = Contestant("dbt_duckdb", "dbt-duckdb", _dbt, "dbt-duckdb", incremental=True)
CONTESTANTS = (
    PIPELINE,
    Contestant("bare_duckdb", "bare DuckDB script", _script("bare_duckdb"), "duckdb"),
    Contestant("polars", "Polars", _script("polars"), "polars"),
    DBT,
    Contestant("pandas", "pandas", _script("pandas"), "pandas"),
)


def python_of(contestant: Contestant, environments: Path) -> Path:
    """The interpreter of a contestant's environment, which is made or renewed where needed.

    Args:
        environments: the folder that holds one virtual environment for each contestant.
    """
    if not contestant.requirements.exists():
        return Path(sys.executable)
    folder = environments / contestant.name
    python, installed = folder / "bin" / "python", folder / "requirements.txt"
    wanted = contestant.requirements.read_text()
    if not installed.exists() or installed.read_text() != wanted:
        print(f"Making the environment of {contestant.title} in {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "-r", str(contestant.requirements)],
            check=True,
        )
        installed.write_text(wanted)
    return python
