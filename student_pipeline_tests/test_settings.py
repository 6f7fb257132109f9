"""What people may set, and the sentence they get when it is wrong."""

import os
from pathlib import Path

import pytest
import yaml

from student_pipeline import settings
from student_pipeline.alerts.settings import SECRETS, Alerts
from student_pipeline.settings import PLACES, PROJECT_ROOT, Rules, SettingsError, load_rules
from student_pipeline_tests.command import Installation

RULES = PROJECT_ROOT / "rules.yaml"


@pytest.fixture
def rules_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "rules.yaml"
    monkeypatch.setenv("STUDENT_PIPELINE_RULES", str(path))
    return path


# --- rules ----------------------------------------------------------------------------------------


def test_the_rules_file_of_the_project_holds_every_rule_with_its_default() -> None:
    content = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    alerts = content.pop("alerts")
    assert alerts == {
        name: value for name, value in Alerts().model_dump().items() if name not in SECRETS
    }
    assert list(content) == list(Rules.model_fields)
    assert content == Rules().model_dump()


def test_each_rule_of_the_rules_file_has_a_one_line_comment() -> None:
    lines = RULES.read_text(encoding="utf-8").splitlines()
    for rule in Rules.model_fields:
        number = next(n for n, line in enumerate(lines) if line.startswith(f"{rule}:"))
        assert lines[number - 1].startswith("# "), rule
        assert not lines[number - 2], rule


def test_rules_that_a_file_leaves_out_keep_their_defaults(rules_file: Path) -> None:
    rules_file.write_text("chronic_absence_percent: 20\n")
    assert load_rules().model_dump() == Rules(chronic_absence_percent=20).model_dump()
    rules_file.write_text("# nothing but a comment\n")
    assert load_rules().model_dump() == Rules().model_dump()


def test_without_any_rules_file_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("STUDENT_PIPELINE_RULES", "")
    assert load_rules().model_dump() == Rules().model_dump()


def test_status_words_count_in_any_case_and_once(rules_file: Path) -> None:
    rules_file.write_text("attendance_statuses: {PRESENT: [here, ' Here ', HERE], ABSENT: [away]}")
    assert load_rules().attendance_statuses == {"PRESENT": ["HERE"], "ABSENT": ["AWAY"]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("chronic_absence: 1", "has unknown rules: chronic_absence; known rules are malformed_"),
        ("malformed_share_limit: 2", "malformed_share_limit should be less than or equal to 1"),
        ("malformed_share_limit: .nan", "malformed_share_limit should be "),
        ("malformed_share_limit: many", "malformed_share_limit should be a valid number"),
        ("malformed_share_limit: many", "found 'many'"),
        ("malformed_share_limit: yes", "malformed_share_limit: True is no value of a rule"),
        ("malformed_share_limit:", "malformed_share_limit should be a valid number"),
        ("chronic_absence_min_days: 0", "chronic_absence_min_days should be greater than or"),
        ("chronic_absence_min_days: 1.5", "chronic_absence_min_days should be a valid integer"),
        (
            "expected_data_age_days: -1\nchronic_absence_percent: 101",
            "found 101; expected_data_age_days should be ",
        ),
        ("schedule_time_zone: Mars/Base", "'Mars/Base' is no time zone; expected a name like Eur"),
        ("schedule_time_zone: ''", "'' is no time zone"),
        ("schedule_time_zone: ../etc/passwd", "'../etc/passwd' is no time zone"),
        ("school_days: []", "school_days: there is no school day; expected some of Mon, Tue"),
        ("school_days: [Mon, Funday]", "school_days: 'Funday' is no weekday; expected one of Mon"),
        (
            "holidays: [Easter]",
            "holidays: 'Easter' is no day; expected 2026-11-26 or 2026-12-21 to",
        ),
        ("holidays: 2026-12-24", "holidays should be a valid list"),
        (
            "landing_settle_seconds: 0",
            "landing_settle_seconds should be greater than or equal to 1",
        ),
        ("header_aliases: {teachers: {}}", "'teachers' is no source; sources are students, "),
        ("header_aliases: {students: {shoe: [size]}}", "'shoe' is no column of students; columns"),
        ("header_aliases: {students: {name: pupil}}", "header_aliases.students.name should be a"),
        (
            "header_aliases: {students: {name: [Class-ID]}}",
            "'Class-ID' means class_id and name of students",
        ),
        (
            "header_aliases: {students: {name: [form], class_id: [Form]}}",
            "'Form' means name and class_id of students",
        ),
        ("header_aliases: {students: {name: ['--']}}", "'--' has neither letters nor digits"),
        ("attendance_statuses: {HERE: [P]}", "'HERE' is no status; statuses are PRESENT, "),
        ("attendance_statuses: {PRESENT: [x], LATE: [X]}", "'X' means PRESENT and LATE"),
        ("attendance_statuses: {PRESENT: []}", "no status has a word"),
        ("attendance_statuses: {ABSENT: [no]}", "attendance_statuses.ABSENT.0 should be a valid"),
        ("a: [", "is not valid YAML: expected the node content, but found '<stream end>' (line 1"),
        ("a: 1\n\tb: 2", "is not valid YAML: found character '\\t' that cannot start any token"),
        ("a: 2020-13-01", "is not valid YAML: month must be in 1..12"),
        ("!!python/name:os.system", "is not valid YAML: could not determine a constructor"),
        ("just a text", "must hold 'name: value' lines"),
        ("- malformed_share_limit", "must hold 'name: value' lines"),
    ],
)
def test_a_wrong_rules_file_gets_a_sentence(rules_file: Path, content: str, sentence: str) -> None:
    rules_file.write_text(content)
    with pytest.raises(SettingsError) as error:
        load_rules()
    assert sentence in str(error.value)
    assert str(error.value).startswith(f"The rules file {rules_file} ")
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_a_holiday_may_be_a_date_of_yaml_or_a_range(rules_file: Path) -> None:
    rules_file.write_text("holidays: [2026-11-26, 2026-12-21 to 2027-01-01]")
    assert load_rules().holidays == ["2026-11-26", "2026-12-21 to 2027-01-01"]


def test_a_rules_file_that_was_named_must_be_there(rules_file: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't be read: No such file or directory\.$"):
        load_rules()
    rules_file.mkdir()
    with pytest.raises(SettingsError, match=r"can't be read: Is a directory\.$"):
        load_rules()


def test_a_rules_file_that_is_no_text_gets_a_sentence(rules_file: Path) -> None:
    rules_file.write_bytes(b"malformed_share_limit: \xff\xfe")
    with pytest.raises(SettingsError, match="is not valid YAML: "):
        load_rules()


@pytest.mark.parametrize("content", ["schedule_time_zone: Mars/Base", "a: [", None])
def test_the_command_refuses_a_wrong_rules_file(tmp_path: Path, content: str | None) -> None:
    school = Installation(tmp_path)
    school.landing.mkdir()
    rules = tmp_path / "my_rules.yaml"
    if content:
        rules.write_text(content)
    outcome = school.command("run", STUDENT_PIPELINE_RULES=str(rules))
    assert outcome.status == 2
    assert not outcome.out
    assert outcome.err.startswith(f"student-pipeline: The rules file {rules} ")
    assert len(outcome.err.splitlines()) == 1
    assert not school.warehouse.exists()


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, ""])
def test_a_place_that_is_open_or_empty_is_the_default_below_the_project(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in PLACES:
        if given is None:
            # Set first, so that monkeypatch takes away what use_default_places sets.
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, given)
    settings.use_default_places()
    assert {name: os.environ[name] for name in PLACES} == {
        "STUDENT_PIPELINE_SOURCE": f"{PROJECT_ROOT}/data/raw",
        "STUDENT_PIPELINE_WAREHOUSE": f"{PROJECT_ROOT}/data/warehouse.duckdb",
        "STUDENT_PIPELINE_PUBLISH": f"{PROJECT_ROOT}/data/published",
    }


def test_a_place_that_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PLACES:
        monkeypatch.setenv(name, f"mine/{name}")
    settings.use_default_places()
    assert {name: os.environ[name] for name in PLACES} == {name: f"mine/{name}" for name in PLACES}
