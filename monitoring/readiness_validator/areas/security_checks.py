"""Security: the floor of settings, keys, files and origins, and who may do everything."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.checks import ERROR, WARNING, CheckMessage, run_checks

from accounts.models import User
from accounts.roles import Role
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope

# What Django says of plain HTTP, which is right on this machine only: HSTS, redirects, secure cookies.
_OF_PLAIN_HTTP: Final = frozenset({"security.W004", "security.W008", "security.W012", "security.W016"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ROOT: Final = Path(__file__).resolve().parents[3]
_LINES: Final = LineMaker(Area.SECURITY)


def check(scope: RunScope) -> Iterator[CheckLine]:
    """The lines of this installation; none is about an agent."""
    yield _check_debug(scope.environment)
    yield from _check_deployment(scope.config)
    yield _check_keys(scope.config)
    yield _check_files(scope.config)
    yield from _check_origins(scope.config, scope.environment)
    yield _check_owners()


def _check_debug(environment: Any) -> CheckLine:
    return _LINES.judge(
        "debug",
        not environment.DEBUG,
        "Errors show nobody the inside.",
        "DEBUG is on: each error page shows settings and code.",
        "Start the processes with the product's own settings.",
    )


def _check_deployment(config: Any) -> Iterator[CheckLine]:
    """`manage.py check --deploy`."""
    messages = [one for one in run_checks(include_deployment_checks=True) if one.level >= WARNING]
    expected = [] if config.secure else [one for one in messages if one.id in _OF_PLAIN_HTTP]
    unexpected = [one for one in messages if one not in expected]
    for message in unexpected:
        yield _deployment_line(message)
    if not unexpected:
        yield _LINES.passed("deployment checks", "Django's checks for a deployment find nothing.")
    if config.secure:
        yield _LINES.passed("encryption", "Browsers send cookies over HTTPS only.")
    else:
        yield _LINES.warning(
            "encryption",
            f"Browsers reach {config.base_url} without encryption, which is right on this machine only.",
            "For others put a proxy with HTTPS in front, and set BANDSTAND_PUBLIC_URL (docs/proxies.md).",
        )


def _deployment_line(message: CheckMessage) -> CheckLine:
    make = _LINES.failed if message.level >= ERROR else _LINES.warning
    return make(
        f"deployment check {message.id}", str(message.msg), str(message.hint or "See manage.py check --deploy.")
    )


def _check_keys(config: Any) -> CheckLine:
    keys = {
        "SECRET_KEY": config.secret_key,
        "BANDSTAND_KEY_PEPPER": config.key_pepper,
        "BANDSTAND_ENCRYPTION_KEY": config.encryption_key,
    }
    texts = [key.get_secret_value() for key in keys.values()]
    return _LINES.judge(
        "keys",
        len(set(texts)) == len(texts),
        "Sessions, API keys and stored secrets have keys of their own.",
        f"Two of {', '.join(keys)} are the same: who learns one has both.",
        "Make each anew (README, On your own PostgreSQL).",
    )


def _check_files(config: Any) -> CheckLine:
    paths = [path for path in _secret_files(config) if path.is_file()]
    readable = [path for path in paths if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    return _LINES.judge(
        "files of secrets",
        not readable,
        "Nobody else on this machine reads the files of its secrets.",
        f"Others on this machine can read {', '.join(path.name for path in readable)}.",
        f"chmod 600 {' '.join(str(path) for path in readable)}",
    )


def _secret_files(config: Any) -> Iterator[Path]:
    yield config.env_file or _ROOT / ".env"
    folder = config.data_dir / "keys"
    if folder.is_dir():
        yield from sorted(folder.iterdir())
    yield config.data_dir / "login.txt"


def _check_origins(config: Any, environment: Any) -> Iterator[CheckLine]:
    yield _LINES.judge(
        "hosts",
        "*" not in environment.ALLOWED_HOSTS,
        "Requests are answered for the names of this installation only.",
        "Requests are answered for any host name, also in links of e-mails.",
        "Name the hosts in ALLOWED_HOSTS, without *.",
    )
    origins = [*environment.CSRF_TRUSTED_ORIGINS, *([config.public_url] if config.public_url else [])]
    plain = [origin for origin in origins if _is_plain(origin)]
    yield _LINES.judge(
        "origins",
        not plain,
        "Every origin that is trusted is encrypted, or this machine.",
        f"Trusted without encryption: {', '.join(plain)}.",
        "Give BANDSTAND_PUBLIC_URL and CSRF_TRUSTED_ORIGINS with https://.",
    )


def _is_plain(origin: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _check_owners() -> CheckLine:
    owners = User.objects.filter(is_active=True, groups__name=Role.OWNER.value).count()
    return _LINES.judge(
        "owners",
        owners > 0,
        "Somebody is an owner." if owners == 1 else f"{owners:,} people are owners.",
        "No active account has the role of an owner: nobody can give people access.",
        "Run manage.py bootstrap.",
    )
