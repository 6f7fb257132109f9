"""Whom to alert, and how: the section `alerts` of the rules file, and two secrets."""

import os
from typing import Any

import dagster as dg
from pydantic import Field, ValidationError, field_validator, model_validator

from student_pipeline.settings import (
    ALERTS,
    SettingsError,
    read_rules_file,
    require_known,
    wrong,
)

SECRETS = {
    "webhook_url": "STUDENT_PIPELINE_ALERT_WEBHOOK",
    "smtp_password": "STUDENT_PIPELINE_SMTP_PASSWORD",
}
"""Setting -> the environment variable that holds it: never in a file of the project, never shown."""

WEBHOOK_FORMATS = ("slack", "teams")
SMTP_SECURITY = ("starttls", "tls", "none")


class Alerts(dg.ConfigurableResource):
    """Whom to alert, and how. Nothing is sent while there is neither an address nor a webhook."""

    email_to: list[str] = Field(default=[], description="Addresses that get every alert.")
    email_from: str = Field(default="", description="The sender's address.")
    smtp_host: str = Field(default="", description="The mail server.")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="The mail server's port.")
    smtp_security: str = Field(
        default="starttls",
        description="starttls (usually port 587), tls (usually port 465) or none.",
    )
    smtp_user: str = Field(default="", description="Who logs in; empty: nobody does.")
    smtp_password: str = Field(default="", description="The password of `smtp_user`.")
    webhook_url: str = Field(default="", description="Where messages are posted to.")
    webhook_format: str = Field(default="slack", description="The form of a post: slack or teams.")
    ui_url: str = Field(
        default="", description="The address of Dagster's UI, for links: https://dagster.school.org"
    )

    @property
    def configured(self) -> bool:
        """Whether anybody is to be alerted."""
        return bool(self.email_to or self.webhook_url)

    @field_validator("webhook_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        return _one_of(value, WEBHOOK_FORMATS)

    @field_validator("smtp_security")
    @classmethod
    def _known_security(cls, value: str) -> str:
        return _one_of(value, SMTP_SECURITY)

    @field_validator("email_to")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for address in value:
            _require_address(address)
        return value

    @field_validator("email_from")
    @classmethod
    def _sender(cls, value: str) -> str:
        if value:
            _require_address(value)
        return value

    @field_validator("ui_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(
                f"'{value}' is no web address; expected one like https://dagster.school.org"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> "Alerts":
        if self.email_to and not (self.smtp_host and self.email_from):
            raise ValueError("email_to needs smtp_host and email_from, too")
        if self.smtp_user and self.smtp_security == "none":
            raise ValueError("smtp_user would send its password in the clear; use starttls or tls")
        return self


def _one_of(value: str, words: tuple[str, ...]) -> str:
    if value not in words:
        raise ValueError(f"'{value}' is none of {', '.join(words)}")
    return value


def _require_address(address: str) -> None:
    name, at, domain = address.rpartition("@")
    if not (name and at and domain) or not address.isascii() or set(address) & set(" \r\n,;<>"):
        raise ValueError(f"'{address}' is no e-mail address")


def load_alerts() -> Alerts:
    """The alert settings in force; the secrets stay names of environment variables.

    Raises:
        SettingsError: the section of the rules file is wrong, or a secret is.
    """
    path, content = read_rules_file()
    section: Any = content.get(ALERTS) or {}
    if not isinstance(section, dict):
        raise SettingsError(f"The rules file {path} must hold 'name: value' lines below {ALERTS}.")
    known = [name for name in Alerts.model_fields if name not in SECRETS]
    for name in set(section) & set(SECRETS):
        raise SettingsError(
            f"The rules file {path} holds {ALERTS}.{name}, which is a secret: "
            f"set the environment variable {SECRETS[name]} instead."
        )
    require_known(path, ALERTS, section, known)
    secrets: dict[str, Any] = {
        setting: dg.EnvVar(name) for setting, name in SECRETS.items() if os.environ.get(name)
    }
    url = os.environ.get(SECRETS["webhook_url"], "")
    if url and not url.startswith(("http://", "https://")):
        raise SettingsError(
            f"{SECRETS['webhook_url']}: expected an address that begins with https://."
        )
    try:
        return Alerts(**section, **secrets)
    except ValidationError as error:
        raise SettingsError(wrong(path, error, f"{ALERTS}.")) from error
