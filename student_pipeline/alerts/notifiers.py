"""Who carries a message: mail, and webhooks of chats. Another one needs `name` and `send`."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from student_pipeline.alerts.message import Message
from student_pipeline.alerts.settings import Alerts

if TYPE_CHECKING:
    import smtplib

SECONDS_TO_ANSWER = 15
"""A server that takes longer is given up."""


class NotSent(Exception):
    """A message could not be sent. The sentence holds no secret.

    Attributes:
        may_pass: whether another try may succeed.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class Notifier(Protocol):
    """Something that carries a message to people."""

    name: str

    def send(self, message: Message) -> None:
        """Send it.

        Raises:
            NotSent: it could not be sent.
        """
        ...


def notifiers(alerts: Alerts) -> list[Notifier]:
    """Those that the settings ask for; their secrets must be resolved."""
    found: list[Notifier] = []
    if alerts.email_to:
        found.append(Email(alerts))
    if alerts.webhook_url:
        found.append(Webhook(alerts.webhook_url, POSTS[alerts.webhook_format]))
    return found


class Email:
    """Mail through an SMTP server."""

    name = "e-mail"

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def send(self, message: Message) -> None:
        """Send one mail to all addresses; see `Notifier.send`."""
        import smtplib
        from email import policy
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        alerts = self._alerts
        # A subject that is folded before its first word begins with a blank for some readers.
        mail = EmailMessage(policy.SMTP.clone(max_line_length=500))
        mail["Subject"] = f"[student pipeline] {message.title}"
        mail["From"] = alerts.email_from
        mail["To"] = ", ".join(alerts.email_to)
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=alerts.email_from.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # no out-of-office answers (RFC 3834)
        mail.set_content(message.text)
        server = f"The mail server {alerts.smtp_host}:{alerts.smtp_port}"
        try:
            with self._connect() as connection:
                refused = connection.send_message(mail)
        except smtplib.SMTPAuthenticationError as error:
            raise NotSent(f"{server} refuses the login of {alerts.smtp_user}.") from error
        except smtplib.SMTPNotSupportedError as error:
            raise NotSent(f"{server} offers no STARTTLS or no login: {error}.") from error
        except smtplib.SMTPRecipientsRefused as error:
            raise NotSent(f"{server} refuses {', '.join(error.recipients)}.") from error
        except smtplib.SMTPResponseException as error:
            raise NotSent(
                f"{server} answers with code {error.smtp_code}.",
                may_pass=400 <= error.smtp_code < 500,
            ) from error
        except (smtplib.SMTPException, OSError, UnicodeError) as error:  # OSError: TLS, too
            raise NotSent(f"{server} can't be used: {error}.", may_pass=True) from error
        if refused:
            raise NotSent(f"{server} refuses {', '.join(refused)}; the others got the message.")

    def _connect(self) -> "smtplib.SMTP":
        import smtplib
        import ssl

        alerts = self._alerts
        place: dict[str, Any] = {
            "host": alerts.smtp_host,
            "port": alerts.smtp_port,
            "timeout": SECONDS_TO_ANSWER,
        }
        if alerts.smtp_security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                **place, context=ssl.create_default_context()
            )
        else:
            connection = smtplib.SMTP(**place)
        try:
            if alerts.smtp_security == "starttls":
                connection.starttls(context=ssl.create_default_context())
            if alerts.smtp_user:
                connection.login(alerts.smtp_user, alerts.smtp_password)
        except BaseException:
            connection.close()
            raise
        return connection


class Webhook:
    """A post of JSON, as chats take it."""

    name = "webhook"

    def __init__(self, url: str, body: Callable[[Message], dict[str, Any]]) -> None:
        self._url = url  # a secret: who knows it can post
        self._body = body

    def send(self, message: Message) -> None:
        """Post it; see `Notifier.send`."""
        import http.client
        import urllib.error
        import urllib.parse
        import urllib.request

        class NoRedirect(urllib.request.HTTPRedirectHandler):
            """Following one would turn the post into a request for a page, which succeeds."""

            def redirect_request(self, *args: Any) -> None:
                return None

        server = f"The webhook on {urllib.parse.urlsplit(self._url).hostname}"
        try:
            request = urllib.request.Request(
                self._url,
                json.dumps(self._body(message)).encode(),
                {"Content-Type": "application/json; charset=utf-8"},
            )
            with urllib.request.build_opener(NoRedirect).open(request, timeout=SECONDS_TO_ANSWER):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            raise NotSent(
                f"{server} answers with status {error.code}.",
                may_pass=error.code == 429 or error.code >= 500,
            ) from None  # its text would name the address
        except urllib.error.URLError as error:
            raise NotSent(f"{server} can't be reached: {error.reason}.", may_pass=True) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSent(
                f"{server} can't be used ({type(error).__name__}).",
                may_pass=isinstance(error, OSError),
            ) from None


def slack(message: Message) -> dict[str, Any]:
    """The post that Slack takes (and Mattermost, Rocket.Chat and others that copied it)."""
    text = f"*{_slack_text(message.title)}*"
    for label, sentence in message.facts.items():
        text += f"\n*{label}:* {_slack_text(sentence)}"
    if message.link:
        text += f"\n<{message.link}|Open in Dagster>"
    return {"text": text}


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def teams(message: Message) -> dict[str, Any]:
    """The post that a Teams workflow takes: an adaptive card."""
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {
                "type": "TextBlock",
                "text": message.title,
                "weight": "bolder",
                "size": "medium",
                "wrap": True,
            },
            {
                "type": "FactSet",
                "facts": [{"title": k, "value": v} for k, v in message.facts.items()],
            },
        ],
    }
    if message.link:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": "Open in Dagster", "url": message.link}
        ]
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        ],
    }


POSTS = {"slack": slack, "teams": teams}
"""Format -> the body of a post."""
