"""Storage options in fsspec's spelling, translated into members of tensorstore's key-value store specs.

Secrets are no options: they would end up in plans, notebooks, logs and pickled tasks. They come from the environment,
where tensorstore looks for them by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

Members = dict[str, Any]
"""Plain JSON beside ``driver`` and ``path``."""

_SECRETS = frozenset((
    "key", "secret", "token", "username", "user", "password", "passwd", "secret_key", "access_key", "session_token",
    "security_token", "credentials", "client_secret", "account_key", "sas_token", "connection_string",
    "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "access_token", "refresh_token", "api_key",
    "authorization", "headers",
))  # fmt: skip


def translate(scheme: str, options: Mapping[str, Any] | None, called: str) -> Members:
    """What tensorstore is told for `options` of a store that is reached by `scheme`.

    Parameters
    ----------
    scheme : {"file", "memory", "s3", "gs", "http", "https"}
    options : mapping, optional
        In fsspec's spelling.
    called : str
        What the user calls the options, for errors.

    Raises
    ------
    TypeError
        If `options` is no mapping.
    ValueError
        If one of them is a secret, is unknown, or has a value that can't be.

    Examples
    --------
    >>> translate("s3", {"anon": True, "client_kwargs": {"region_name": "eu-west-1"}}, "storage_options")
    {'aws_credentials': {'type': 'anonymous'}, 'aws_region': 'eu-west-1'}
    """
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"{called} must be a mapping such as {{'anon': True}}, got {type(options).__name__}")
    given = dict(_flat(options or {}, called))
    known = _KNOWN.get(scheme, {})
    unknown = [key for key in given if key not in known]
    if unknown:
        allowed = ", ".join(dict.fromkeys(known)) or "none"
        raise ValueError(f"{called} of {scheme}:// can be {allowed}, got {unknown[0]!r}")
    members: Members = {}
    for key, value in given.items():
        members |= known[key](value, f"{called}[{key!r}]")
    return members | _from_environment(scheme, members)


def _flat(options: Mapping[str, Any], called: str) -> Iterator[tuple[str, Any]]:
    """Options, those nested as in ``client_kwargs`` too; a secret at any depth is refused, and never shown."""
    for key, value in options.items():
        if value is None:
            continue  # says nothing, as in fsspec
        if str(key).lower() in _SECRETS:
            raise ValueError(
                f"{called} must hold no secret, got {str(key)!r}: "
                "set credentials in the environment instead, as docs/stores.md says"
            )
        if isinstance(value, Mapping):
            yield from _flat(value, called)
        else:
            yield str(key), value


def refuse_credentials(url: str, what: str) -> None:
    """Raise where `url` carries a user, a password or a signed query; the text does not repeat it.

    Raises
    ------
    ValueError
        If it does.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(f"{what} must hold no user and no password: set credentials in the environment instead")
    if parts.query or parts.fragment:
        raise ValueError(
            f"{what} must have no ? and no #, which may sign it: set credentials in the environment instead"
        )


# -- one function an option: value, and its name for errors, to members ---------------------------------------------

_Option = Callable[[Any, str], Members]


def _flag(value: Any, called: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{called} must be true or false, got {value!r}")
    return value


def _text(value: Any, called: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{called} must be a text, got {type(value).__name__}")
    return value


def _anonymous(value: Any, called: str) -> Members:
    return {"aws_credentials": {"type": "anonymous"}} if _flag(value, called) else {}


def _profile(value: Any, called: str) -> Members:
    return {"aws_credentials": {"type": "profile", "profile": _text(value, called)}}


def _endpoint(value: Any, called: str) -> Members:
    url = _text(value, called)
    refuse_credentials(url, called)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ValueError(f"{called} must be a URL such as https://minio.example:9000, got {url!r}")
    return {"endpoint": url.rstrip("/")}


def _region(value: Any, called: str) -> Members:
    return {"aws_region": _text(value, called)}


def _requester(value: Any, called: str) -> Members:
    return {"requester_pays": True} if _flag(value, called) else {}


def _project(value: Any, called: str) -> Members:
    """The project that is billed where a bucket is "requester pays"."""
    return {"gcs_user_project": {"project_id": _text(value, called)}}


def _anything(value: Any, called: str) -> Members:
    """Of no meaning here; taken so that the same options serve other libraries too."""
    del value, called
    return {}


_KNOWN: Mapping[str, Mapping[str, _Option]] = {
    "s3": {
        "anon": _anonymous,
        "endpoint_url": _endpoint,
        "region": _region,
        "region_name": _region,
        "profile": _profile,
        "requester_pays": _requester,
        "use_ssl": _anything,
    },
    "gs": {"project": _project, "requester_pays": _anything},
}


def _from_environment(scheme: str, members: Members) -> Members:
    """The endpoint and region that AWS's own variables name; what the user said comes first."""
    if scheme != "s3":
        return {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    found: Members = {}
    if endpoint and "endpoint" not in members:
        found |= _endpoint(endpoint, "AWS_ENDPOINT_URL")
    if region and "aws_region" not in members:
        found |= _region(region, "AWS_REGION")
    return found
