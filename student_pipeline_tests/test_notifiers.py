"""Mail and webhooks, sent to real servers on this machine."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from student_pipeline.alerts.message import Message
from student_pipeline.alerts.notifiers import Email, NotSent, Webhook, notifiers, slack, teams
from student_pipeline.alerts.settings import Alerts, load_alerts
from student_pipeline.settings import SettingsError
from student_pipeline_tests.receivers import Channel, mail_server, make_certificate, webhook

LINK = "https://dagster.school.org/runs/1"
MESSAGE = Message(
    "FAILED: check key_unique of gold/class_daily_performance",
    {"What": "Rows <& columns> don't agree: é.", "Since": "2026-06-30 06:00 UTC"},
    LINK,
)
TEXT = f"What: Rows <& columns> don't agree: é.\nSince: 2026-06-30 06:00 UTC\nLink: {LINK}"
LOGIN = ("pipeline", "pass word")


def alerts(port: int, **more: Any) -> Alerts:
    return Alerts(
        email_to=["head@school.org", "it@school.org"],
        email_from="pipeline@school.org",
        smtp_host="localhost",
        smtp_port=port,
        **{"smtp_security": "none", **more},
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate, which this machine trusts for the length of a test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


@pytest.fixture
def channel() -> Iterator[Channel]:
    with webhook() as channel:
        yield channel


# --- mail -----------------------------------------------------------------------------------------


def test_a_mail_says_what_the_message_says_to_all_addresses() -> None:
    with mail_server() as mailbox:
        Email(alerts(mailbox.port)).send(MESSAGE)
    (mail,) = mailbox.mails
    assert mailbox.recipients == [["head@school.org", "it@school.org"]]
    assert mail["Subject"] == f"[student pipeline] {MESSAGE.title}"
    assert mail["From"] == "pipeline@school.org"
    assert mail["To"] == "head@school.org, it@school.org"
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@school.org>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().strip().replace("\r\n", "\n") == TEXT


# The server does not see that all of its connection is encrypted from the start.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_login_goes_over_an_encrypted_connection(trusted: Path, security: str) -> None:
    with mail_server(trusted, tls=security == "tls", login=LOGIN) as mailbox:
        settings = alerts(
            mailbox.port, smtp_security=security, smtp_user=LOGIN[0], smtp_password=LOGIN[1]
        )
        Email(settings).send(MESSAGE)
    assert len(mailbox.mails) == 1
    assert mailbox.encrypted == [True]


def test_a_wrong_password_gets_a_sentence_without_it(trusted: Path) -> None:
    with mail_server(trusted, login=LOGIN) as mailbox:
        settings = alerts(
            mailbox.port, smtp_security="starttls", smtp_user=LOGIN[0], smtp_password="guessed"
        )
        with pytest.raises(NotSent, match=r"refuses the login of pipeline\.$") as error:
            Email(settings).send(MESSAGE)
    assert "guessed" not in str(error.value)
    assert not error.value.may_pass
    assert not mailbox.mails


# The server does not see that all of its connection is encrypted from the start.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for_gets_neither_mail_nor_password(
    certificate: Path, security: str
) -> None:
    with mail_server(certificate, tls=security == "tls", login=LOGIN) as mailbox:
        settings = alerts(
            mailbox.port, smtp_security=security, smtp_user=LOGIN[0], smtp_password=LOGIN[1]
        )
        with pytest.raises(NotSent, match="certificate verify failed"):
            Email(settings).send(MESSAGE)
    assert not mailbox.mails


def test_a_server_without_starttls_gets_nothing_in_the_clear() -> None:
    with mail_server() as mailbox, pytest.raises(NotSent, match=r"offers no STARTTLS or no login"):
        Email(alerts(mailbox.port, smtp_security="starttls")).send(MESSAGE)
    assert not mailbox.mails


@pytest.mark.parametrize(("answer", "may_pass"), [("451 Later", True), ("554 Never", False)])
def test_a_server_that_refuses_gets_a_sentence(answer: str, may_pass: bool) -> None:
    with mail_server() as mailbox:
        mailbox.answer = answer
        with pytest.raises(NotSent, match=f"answers with code {answer[:3]}") as error:
            Email(alerts(mailbox.port)).send(MESSAGE)
    assert error.value.may_pass is may_pass


def test_a_mail_server_that_is_not_there_gets_a_sentence() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(
            NotSent, match=f"^The mail server localhost:{port} can't be used"
        ) as error:
            Email(alerts(port)).send(MESSAGE)
    assert error.value.may_pass


# --- webhooks -------------------------------------------------------------------------------------


def test_slack_gets_text_with_its_signs_escaped(channel: Channel) -> None:
    Webhook(channel.url, slack).send(MESSAGE)
    assert channel.posts == [
        {
            "text": "*FAILED: check key_unique of gold/class_daily_performance*\n"
            "*What:* Rows &lt;&amp; columns&gt; don't agree: é.\n"
            f"*Since:* 2026-06-30 06:00 UTC\n<{LINK}|Open in Dagster>"
        }
    ]


def test_teams_gets_an_adaptive_card(channel: Channel) -> None:
    Webhook(channel.url, teams).send(MESSAGE)
    (post,) = channel.posts
    (attachment,) = post["attachments"]
    assert (post["type"], attachment["contentType"]) == (
        "message",
        "application/vnd.microsoft.card.adaptive",
    )
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, facts = card["body"]
    assert title["text"] == MESSAGE.title
    assert {fact["title"]: fact["value"] for fact in facts["facts"]} == MESSAGE.facts
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open in Dagster", "url": LINK}]


def test_without_the_address_of_the_ui_there_is_no_link(channel: Channel) -> None:
    message = Message("FAILED", {"What": "x"}, "")
    assert message.text == "What: x"
    Webhook(channel.url, slack).send(message)
    Webhook(channel.url, teams).send(message)
    assert "Open in Dagster" not in str(channel.posts)


@pytest.mark.parametrize(
    ("status", "may_pass"), [(302, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_a_webhook_that_refuses_gets_a_sentence_without_its_address(
    channel: Channel, status: int, may_pass: bool
) -> None:
    channel.statuses = [status]
    with pytest.raises(
        NotSent, match=f"^The webhook on 127.0.0.1 answers with status {status}.$"
    ) as e:
        Webhook(channel.url, slack).send(MESSAGE)
    assert e.value.may_pass is may_pass
    assert channel.posts == []


def test_a_webhook_that_is_not_there_gets_a_sentence_without_its_address() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/SECRET"
        with pytest.raises(NotSent, match=r"^The webhook on 127.0.0.1 can't be reached") as error:
            Webhook(url, slack).send(MESSAGE)
    assert "SECRET" not in str(error.value)
    assert error.value.may_pass


# --- settings -------------------------------------------------------------------------------------


@pytest.fixture
def rules_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "rules.yaml"
    monkeypatch.setenv("STUDENT_PIPELINE_RULES", str(path))
    for name in ("STUDENT_PIPELINE_ALERT_WEBHOOK", "STUDENT_PIPELINE_SMTP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_nothing_is_sent_to_nobody(rules_file: Path) -> None:
    rules_file.write_text("")
    assert not load_alerts().configured
    assert notifiers(load_alerts()) == []


def test_secrets_come_from_the_environment_and_are_not_shown(
    rules_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules_file.write_text(
        "alerts: {email_to: [it@school.org], email_from: a@b.org, smtp_host: mail.school.org,"
        " smtp_user: me, webhook_format: teams, ui_url: 'https://dagster.school.org/'}"
    )
    monkeypatch.setenv("STUDENT_PIPELINE_ALERT_WEBHOOK", "https://chat.school.org/SECRET")
    monkeypatch.setenv("STUDENT_PIPELINE_SMTP_PASSWORD", "SECRET")
    settings = load_alerts()
    assert settings.configured
    assert "SECRET" not in repr(settings)
    resolved = settings.process_config_and_initialize()
    assert resolved.smtp_password == "SECRET"
    assert resolved.ui_url == "https://dagster.school.org"
    assert [notifier.name for notifier in notifiers(resolved)] == ["e-mail", "webhook"]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("[]", None),
        ("just text", "must hold 'name: value' lines below alerts"),
        ("{mail_to: [a@b.org]}", "has unknown alerts: mail_to; known alerts are email_to, email"),
        ("{email_to: [a@b.org]}", "email_to needs smtp_host and email_from, too"),
        ("{email_to: [nobody]}", "alerts.email_to: 'nobody' is no e-mail address"),
        ("{email_from: 'a@b.org, c@d.org'}", "'a@b.org, c@d.org' is no e-mail address"),
        ("{smtp_security: ssl}", "'ssl' is none of starttls, tls, none"),
        ("{smtp_security: none, smtp_user: me}", "would send its password in the clear"),
        ("{smtp_port: 0}", "alerts.smtp_port should be greater than or equal to 1"),
        ("{webhook_format: irc}", "'irc' is none of slack, teams"),
        ("{ui_url: dagster.school.org}", "'dagster.school.org' is no web address"),
        (
            "{smtp_password: x}",
            "holds alerts.smtp_password, which is a secret: set the environment",
        ),
        ("{webhook_url: x}", "set the environment variable STUDENT_PIPELINE_ALERT_WEBHOOK instead"),
    ],
)
def test_wrong_settings_get_a_sentence(
    rules_file: Path, section: str, sentence: str | None
) -> None:
    rules_file.write_text(f"alerts: {section}")
    if sentence is None:
        assert not load_alerts().configured
        return
    with pytest.raises(SettingsError) as error:
        load_alerts()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_webhook_that_is_no_address_gets_a_sentence_without_it(
    rules_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules_file.write_text("")
    monkeypatch.setenv("STUDENT_PIPELINE_ALERT_WEBHOOK", "SECRET")
    with pytest.raises(SettingsError, match=r"^STUDENT_PIPELINE_ALERT_WEBHOOK: expected") as error:
        load_alerts()
    assert "SECRET" not in str(error.value)
