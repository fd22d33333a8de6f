"""No secret in a config or a parameter: notebooks, records and reports keep both, and show them to everybody.

A parameter that stands for a secret holds the *name* of an environment variable; the notebook looks it up. Sentences
about what is wrong never repeat it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

_ALWAYS = (
    "secret", "secrets", "password", "passwords", "passwd", "passphrase", "pwd", "credential", "credentials",
    "authorization", "apikey", "accesskey", "accountkey", "secretkey", "privatekey",
)  # fmt: skip
"""How names end that stand for nothing but secrets."""

_KEYS = frozenset((
    "", "api", "access", "secret", "account", "private", "encryption", "signing", "master", "auth", "sas", "license",
))  # fmt: skip
"""What stands before "key" in the name of a secret; other keys sort tables and name columns."""

_SIGNED = ("sig", "signature", "awsaccesskeyid", "googleaccessid")
"""How parts of a signed URL end, beside what the rules above know."""

_FOLDERS = ("PWD", "OLDPWD")
"""Variables of every shell, of which the value is a folder."""

_SHORTEST = 8
"""Characters of a secret that is looked for inside of other texts; shorter ones occur by chance."""

_IN_FRONT = re.compile(r"[a-z][a-z0-9+.-]*://([^/\s?#@]*:(?!\d*[/?#])[^\s@]*|[^/\s?#@]*)@", re.IGNORECASE)
"""A user or a password in a URL; a secret key of AWS may have slashes in it, what follows a port is none."""

_TOKENS = {
    what: re.compile(rf"(?<![A-Za-z0-9]){pattern}")
    for what, pattern in {
        "a token of GitHub": r"(gh[opsur]_[A-Za-z0-9]{16}|github_pat_\w{16})",
        "a token of GitLab": r"glpat-[\w-]{16}",
        "a token of Slack": r"xox[a-z]-[A-Za-z0-9-]{10}",
        "a token of Hugging Face": r"hf_[A-Za-z0-9]{20}",
        "an access key of AWS": r"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])",
        "an API key": r"(?<![_-])sk-[\w-]*?(?<![A-Za-z0-9])((?=[A-Za-z]{,19}\d)[A-Za-z0-9]{20}|[A-Za-z0-9]{32})",
        "a bearer token": r"(?i:bearer)\s+((?=[a-zA-Z._~+/-]*\d)[\w.~+/-]{12}|[\w.~+/-]{24})",
        "a private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
        "a JSON web token": r"eyJ[\w-]{16,}\.[\w-]{8,}\.[\w-]{8}",
    }.items()
}
"""What services make so that it is known wherever it turns up. A digest, a path, a word or data in base64 has none of
these beginnings, or no such run of letters and digits behind one."""

_OTHERS = re.compile(r"(abfss?|wasbs?|adl)://", re.IGNORECASE)
"""URLs in which a container stands before the @."""


def is_secret_name(name: str, value: Any = "") -> bool:
    """Whether a parameter, option or environment variable of this name holds a secret, if `value` is what it holds.

    Keys and tokens are secrets where they are texts; as numbers they are counted.

    Examples
    --------
    >>> [is_secret_name(each) for each in ("AWS_SECRET_ACCESS_KEY", "api-token", "sort_key", "token_file", "step")]
    [True, True, False, False, False]
    >>> is_secret_name("key", "AKIA"), is_secret_name("key", 3)
    (True, False)
    """
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).replace("-", "_").replace(".", "_").lower().split("_")
    words = words[:-1] if words[-1] == "id" and len(words) > 2 else words
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last.endswith(_ALWAYS):
        return not isinstance(value, bool)
    return isinstance(value, str) and (last.endswith("token") or (last == "key" and before in _KEYS))


def taken_from_environment(text: str) -> Iterator[str]:
    """Names of secret variables whose value an interpolation such as ``${oc.env:API_TOKEN}`` would put in.

    Examples
    --------
    >>> list(taken_from_environment("s3://${oc.env:BUCKET}/${oc.env:API_TOKEN,none}"))
    ['API_TOKEN']
    """
    for name in re.findall(r"oc\.env\s*:\s*['\"]?([A-Za-z_]\w*)", text):
        if _is_secret_variable(name):
            yield name


def token_problem(called: str, text: str) -> str:
    """A sentence where a text has a token or a key in it that is known by how it looks; else "".

    Examples
    --------
    >>> token_problem("ask.words", "ghp_0123456789abcdefghij").partition(",")[0]
    'ask.words must not hold a token of GitHub'
    >>> token_problem("ask.words", "sk-bratislava-2024-orthophoto"), token_problem("ask.words", "0a" * 32)
    ('', '')
    """
    what = next((what for what, pattern in _TOKENS.items() if pattern.search(text)), "")
    if not what:
        return ""
    return (
        f"{called} must not hold {what}, since notebooks and records keep what they are given: put it into an "
        "environment variable, give the name of that instead, and read it in the notebook by os.environ"
    )


def problem_of(called: str, name: str, value: Any) -> str:
    """A sentence where a value is a secret, or contains one; else "".

    Parameters
    ----------
    called : str
        What people call it: ``patchify.source``.
    name : str
        The last part of that.
    value : str, number, list or mapping
    """
    if isinstance(value, Mapping):
        keys = (problem_of_text(called, str(key)) for key in value)
        inner = (problem_of(f"{called}.{key}", str(key), each) for key, each in value.items())
        return next(filter(None, chain(keys, inner)), "")
    if isinstance(value, list | tuple):
        return next(filter(None, (problem_of(called, name, each) for each in value)), "")
    if value is None or (isinstance(value, str) and not value):
        return ""
    if is_secret_name(name, value):
        return "" if _is_variable(value) else _no_variable(called)
    return problem_of_text(called, value) if isinstance(value, str) else ""


def problem_of_text(called: str, text: str) -> str:
    """The same of a text, whatever it stands for: a value, or the key of a mapping."""
    if _has_credentials(text):
        return (
            f"{called} must have no user, password or signature in its URL, since notebooks and records keep what they "
            "are given: set credentials in the environment instead"
        )
    variable = next((name for name, secret in _secrets() if secret in text), "")
    return interpolation_problem(called, variable) if variable else token_problem(called, text)


def interpolation_problem(called: str, variable: str) -> str:
    """The sentence about a value that takes in a secret of the environment."""
    return (
        f"{called} must not contain the value of {variable}, since notebooks and records keep what they are given: "
        f"name the variable in a parameter, and read it in the notebook by os.environ"
    )


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value) is not None and value in os.environ


def _no_variable(called: str) -> str:
    return (
        f"{called} must be the name of an environment variable that is set and holds the secret, since notebooks and "
        "records keep what they are given: set one, and read it in the notebook by os.environ; what is no secret "
        "needs another name"
    )


def _has_credentials(text: str) -> bool:
    if "://" not in text:
        return False
    if _IN_FRONT.search(text) and not _OTHERS.match(text):
        return True
    keys = re.findall(r"[?&;#]([\w.-]+)=[^&\s]", text)
    return any(is_secret_name(key) or key.lower().endswith(_SIGNED) for key in keys)


def _is_secret_variable(name: str, value: str = "") -> bool:
    return name not in _FOLDERS and is_secret_name(name, value)


def _secrets() -> Iterator[tuple[str, str]]:
    """Secret variables of the environment with their values; the path of a file with a secret in it is none."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _is_secret_variable(name, value) and not os.path.lexists(value):
            yield name, value
