"""The page of the results: Markdown made from what was measured."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, DBT, PIPELINE
from benchmarks.contests import DAY, EMPTY_JOB, NOTHING_NEW
from benchmarks.measuring import Cost, median, ratio
from benchmarks.plots import PICTURES, draw
from benchmarks.results import Measured

TITLES = {contestant.name: contestant.title for contestant in CONTESTANTS}


def write_report(measured: Sequence[Measured], folder: Path) -> None:
    """Write `README.md` and the pictures into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    builds = [one for one in measured if one.contest == "build" and not one.memory_limit_mb]
    if builds:
        draw(builds, TITLES, folder)
    (folder / "README.md").write_text(markdown(measured), encoding="utf-8")


def markdown(measured: Sequence[Measured]) -> str:
    """The page."""
    limited = [one for one in measured if one.contest == "build" and one.memory_limit_mb]
    free = [one for one in measured if not one.memory_limit_mb]
    contests = {contest: list(ones) for contest, ones in groupby(free, key=lambda one: one.contest)}
    lines = [
        "# Results",
        "",
        "Made by `make bench` from `measured.json`. Medians of the rounds, the contestants in turn; "
        "*times ours* is the wall-clock time against that of student-pipeline, the median of the "
        "pairs of each round. Memory is that of the largest process; disk is what lies in the "
        "output folder afterwards. Each contestant's files and pinned versions are below "
        "`benchmarks/contestants/`; all gold tables were compared and agree.",
    ]
    if "build" in contests:
        lines += ["", *_builds(contests["build"])]
    if limited:
        lines += ["", *_limited(limited)]
    if "day" in contests:
        lines += ["", *_days(contests["day"], contests.get("build", []))]
    if "sample" in contests:
        lines += ["", *_sample(contests["sample"][-1])]
    lines += ["", *_circumstances(measured)]
    return "\n".join(lines) + "\n"


def _builds(builds: Sequence[Measured]) -> Iterator[str]:
    yield "## A whole first build"
    yield ""
    yield (
        "student-pipeline does all of it: every check, quarantine and ledger, recorded in Dagster, "
        "published with a report. dbt-duckdb has the equivalent tests, but no quarantine and no odd "
        "formats. The others build the same eight tables and check nothing."
    )
    for picture, (_, title) in PICTURES.items():
        yield ""
        yield f"![{title}]({picture})"
    yield ""
    yield from _table(builds)


def _limited(builds: Sequence[Measured]) -> Iterator[str]:
    yield "## A whole first build with little memory"
    for limit, ones in groupby(builds, key=lambda one: one.memory_limit_mb):
        yield ""
        yield f"With {limit:,} MB of memory for all of the contestant's processes:"
        yield ""
        yield from _table(list(ones))


def _table(builds: Sequence[Measured]) -> Iterator[str]:
    yield "| attendance rows | contestant | seconds | CPU seconds | peak MB | disk MB | times ours |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    for one in builds:
        ours = one.costs.get(PIPELINE.name, [])
        for name, title in TITLES.items():
            if name not in one.costs:
                continue
            version = one.versions.get(name)
            costs = one.costs[name]
            title = f"{title} {version}" if version else title
            times = f"{ratio(costs, ours):.2f}" if costs and ours and name != PIPELINE.name else ""
            yield f"| {one.attendance:,} | {title} | {_figures(costs)} | {times} |"


def _days(days: Sequence[Measured], builds: Sequence[Measured]) -> Iterator[str]:
    yield "## One more day"
    yield ""
    yield (
        "1/180 of a year's rows, 1 % of them corrections of older days, and a roster in which 0.1 % "
        "of the students changed the class, upon the whole history. dbt-duckdb by incremental "
        "models, with all its tests."
    )
    yield ""
    yield "| attendance rows before | run | seconds | CPU seconds | peak MB | disk MB | times ours |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    for one in days:
        ours = one.costs[f"{PIPELINE.name}: {DAY}"]
        for contestant, what in ((PIPELINE, NOTHING_NEW), (PIPELINE, DAY), (DBT, DAY)):
            costs = one.costs[f"{contestant.name}: {what}"]
            times = f"{ratio(costs, ours):.2f}" if contestant is DBT else ""
            title = f"{contestant.title}, {what}"
            yield f"| {one.attendance:,} | {title} | {_figures(costs)} | {times} |"
    built = {
        one.attendance: one.costs[PIPELINE.name] for one in builds if PIPELINE.name in one.costs
    }
    for one in days:
        if built.get(one.attendance):
            yield ""
            yield _share_of_the_build(one, median(built[one.attendance]))
    if len(days) > 1:
        smallest, largest = days[0], days[-1]
        factor = _day(largest).wall / _day(smallest).wall
        yield ""
        yield (
            f"With {largest.attendance / smallest.attendance:.0f} times the history (from "
            f"{smallest.attendance:,} rows to {largest.attendance:,}) our run of the day takes "
            f"{factor:.2f} times as long."
        )


def _share_of_the_build(day: Measured, built: Cost) -> str:
    start = median(day.costs[f"{PIPELINE.name}: {NOTHING_NEW}"]).wall
    above, whole = _day(day).wall - start, built.wall - start
    if above <= 0:
        return f"On {day.attendance:,} rows our day takes no longer than a run with nothing new."
    return (
        f"On {day.attendance:,} rows, above a run in which nothing is new, our day takes "
        f"{above / whole:.1%} of the time of the whole build."
    )


def _day(day: Measured) -> Cost:
    return median(day.costs[f"{PIPELINE.name}: {DAY}"])


def _sample(sample: Measured) -> Iterator[str]:
    ours, empty = sample.costs[PIPELINE.name], sample.costs[EMPTY_JOB]
    yield "## The shipped sample"
    yield ""
    yield "| run | seconds | CPU seconds | peak MB | disk MB |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield f"| student-pipeline, all of the sample | {_figures(ours)} |"
    yield f"| a Dagster job of the same shape that does nothing | {_figures(empty)} |"
    yield ""
    yield f"Ours takes {ratio(ours, empty):.2f} times as long: the rest is Dagster's own time."


def _circumstances(measured: Sequence[Measured]) -> Iterator[str]:
    yield "## Where and when"
    yield ""
    yield "| contest | attendance rows | rounds | measured on | machine |"
    yield "| --- | ---: | ---: | --- | --- |"
    for one in measured:
        rounds = max((len(costs) for costs in one.costs.values()), default=0)
        limit = f", {one.memory_limit_mb:,} MB" if one.memory_limit_mb else ""
        yield (
            f"| {one.contest}{limit} | {one.attendance:,} | {rounds} | {one.measured_on} | {one.machine} |"
        )


def _figures(costs: Sequence[Cost]) -> str:
    if not costs:
        return "out of memory | | | "
    cost = median(costs)
    seconds = (
        f"{figure:.2f}" if figure < 10 else f"{figure:.1f}" for figure in (cost.wall, cost.cpu)
    )
    return f"{' | '.join(seconds)} | {cost.peak_mb:,.0f} | {_megabytes(cost.disk_mb)}"


def _megabytes(figure: float) -> str:
    return f"{figure:.1f}" if figure < 10 else f"{figure:,.0f}"
