"""No secret gets into a config or a parameter, no value becomes code, no output leaves the root."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmill.errors import ConfigError
from patchmill.stages.pipelines import read_pipeline
from patchmill.stages.places import TemporaryFolder
from patchmill.stages.secrecy import is_secret_name, problem_of, taken_from_environment
from stages.notebook_files import ENTER, write_config, write_notebook

CANARY = "c4n4ry/51ngs+NO+m0re"

DECLARED = """\
source: str = "sample:"  # in: where from
target: str = "temp:a.txt"  # out: where to
further: list[str] = []  # out: more
token: str = ""  # name of the environment variable that holds it
options: dict = {}  # how to get there
words: str = ""  # anything
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a notebook, and a secret in the environment."""
    monkeypatch.setenv("SERVICE_TOKEN", CANARY)
    write_notebook(tmp_path / "work.ipynb", DECLARED, "open(target, 'w').write(words)")
    return tmp_path


def refused(folder: Path, params: dict, overrides: list[str] | None = None, **others) -> str:
    """The one sentence with which a config is refused."""
    config = write_config(folder / "some.yaml", {"work": {"params": params}}, **others)
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        read_pipeline(str(config), overrides or [])
    assert sorted(folder.rglob("*")) == before
    assert CANARY not in str(caught.value)
    (sentence,) = str(caught.value).splitlines()
    return sentence


@pytest.mark.parametrize(
    ("params", "called"),
    [
        ({"token": CANARY}, "work.token must be the name of an environment variable"),
        ({"token": "NOT_SET_ANYWHERE"}, "work.token must be the name of an environment variable"),
        ({"options": {"secret": CANARY}}, "work.options.secret must be the name"),
        ({"options": {"client_kwargs": {"aws_access_key_id": "AKIA1"}}}, "work.options.client_kwargs.aws_"),
        ({"options": {"key": "AKIA1"}}, "work.options.key must"),
        ({"options": {"AccountKey": "x"}}, "work.options.AccountKey must"),
        ({"options": {"password": 12345}}, "work.options.password must"),
        ({"source": f"s3://AKIA:{CANARY}@bucket/x"}, "work.source must have no user, password or signature"),
        ({"source": "https://me:pw@host/x"}, "work.source must have no user"),
        ({"source": "https://ghp_abc@host/x"}, "work.source must have no user"),
        ({"source": "zip::https://me:pw@host/x"}, "work.source must have no user"),
        ({"source": "https://host/x?X-Amz-Signature=0a&X-Amz-Date=1"}, "work.source must have no user"),
        ({"source": "https://host/x?sv=1&sig=0a"}, "work.source must have no user"),
        ({"words": "Bearer ${oc.env:SERVICE_TOKEN}"}, "work.words must not contain the value of SERVICE_TOKEN"),
        ({"words": "${oc.env :SERVICE_TOKEN}"}, "work.words must not contain the value of SERVICE_TOKEN"),
        ({"words": "${ oc.env : OTHER_PASSWORD, x}"}, "work.words must not contain the value of OTHER_PASSWORD"),
        ({"words": "${oc.env:OTHER_PASSWORD,hunter2}"}, "work.words must not contain the value of OTHER_PASSWORD"),
        ({"words": "${oc.env:${oc.decode:SERVICE_TOKEN}}"}, "work.words must not contain the value of SERVICE_TOKEN"),
        ({"words": f"a{CANARY}b"}, "work.words must not contain the value of SERVICE_TOKEN"),
        ({"options": {CANARY: 1}}, "work.options must not contain the value of SERVICE_TOKEN"),
        ({"options": {"headers": {f"x-{CANARY}": "a"}}}, "work.options.headers must not contain the value of"),
        ({"options": {"ghp_0123456789abcdefghij": "a"}}, "work.options must not hold a token of GitHub"),
        ({"further": ["${root}/a", f"${{root}}/{CANARY}"]}, "work.further.1 must not contain the value of SERV"),
    ],
)  # fmt: skip
def test_a_secret_is_refused_in_one_sentence_that_does_not_tell_it(folder, params, called):
    assert called in refused(folder, params)


def test_a_secret_anywhere_else_in_a_config_is_refused_too(folder):
    with_it = "${oc.env:SERVICE_TOKEN}"
    assert "root must not contain" in refused(folder, {}, root=f"s3://bucket/{with_it}")
    assert "root must have no user" in refused(folder, {}, root=f"s3://me:{CANARY}@bucket/x")
    assert "name must not contain" in refused(folder, {}, name=with_it)
    assert "compute.memory must not contain" in refused(folder, {}, compute={"memory": with_it})
    assert "command line: work.token must be" in refused(folder, {}, [f"work.token={CANARY}"])
    assert "command line: 'wrok.token=...' overrides nothing" in refused(folder, {}, [f"wrok.token={CANARY}"])


def said_of(folder, token):
    """What is said of a token that can't be read, in the config and on the command line."""
    config = write_config(folder / "some.yaml", {"work": {}})
    whole = config.read_text()
    config.write_text(f"{whole}    params: {{token: {token} }}")
    for overrides in ([], [f"work.token={token}"]):
        with pytest.raises(ConfigError) as caught:
            read_pipeline(str(config), overrides)
        yield str(caught.value)
        config.write_text(whole)


@pytest.mark.parametrize("sign", ["!", "*", "!a!", "!'"])
def test_a_secret_that_begins_with_a_sign_of_yaml_is_not_told(folder, sign):
    in_config, in_command = said_of(folder, f"{sign}c4n4ry-7")
    assert in_config.startswith("some.yaml:6: this is no YAML: ")
    assert in_command.startswith("command line: ")
    for sentence in (in_config, in_command):
        assert sentence.endswith(" '...': put a text that begins with ! or * in quotes")


@pytest.mark.parametrize("tag", ["int", "float", "bool", "timestamp"])
def test_a_secret_that_is_not_what_its_tag_says_is_not_told(folder, tag):
    in_config, in_command = said_of(folder, f"!!{tag} c4n4ry")
    why = "a value is not what its tag, such as !!int, says: leave out the tag"
    assert in_config == f"some.yaml: this is no YAML: {why}"
    assert in_command == f"command line: 'work.token=...' can't be set: {why}"


def test_a_short_secret_in_the_root_is_refused_and_no_path_below_it_is_told(folder, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "abc123")
    params = {"source": "${root}/nothing", "target": "${root}/a.txt"}
    config = str(write_config(folder / "some.yaml", {"work": {"params": params}}, root="o_${oc.env:API_TOKEN}"))
    with pytest.raises(ConfigError) as caught:
        read_pipeline(config)
    (sentence,) = str(caught.value).splitlines()
    assert sentence.startswith("some.yaml:2: root must not contain the value of API_TOKEN, ")
    with pytest.raises(ConfigError, match=r"^command line: root must not contain the value of API_TOKEN, .*$"):
        read_pipeline(config, ["root=${oc.env:API_TOKEN}"])


def test_the_name_of_a_variable_that_is_set_is_what_a_secret_looks_like(folder):
    config = write_config(folder / "some.yaml", {"work": {"params": {"token": "SERVICE_TOKEN"}}})
    assert read_pipeline(str(config)).stages[0].params["token"] == "SERVICE_TOKEN"


@pytest.mark.parametrize(
    "value",
    ["https://host:8080/a@2x.png", "s3://bucket/a@b", "abfss://box@account.dfs.core.windows.net/x", "me@home", "a?b=c",
     "https://host/x?level=3&key", "data/token.zarr", "scp me@host:x"],
)  # fmt: skip
def test_what_is_no_secret_is_let_through(value):
    assert problem_of("it", "source", value) == ""


TOKENS = {
    "ghp_" + "a1B2" * 9: "a token of GitHub",
    "github_pat_" + "11ABC0_" * 5: "a token of GitHub",
    "AKIA" + "IOSFODNN7EXAMPLE": "an access key of AWS",
    "xoxb-" + "123456789012-abcdefGHIJKL": "a token of Slack",
    "xoxp-" + "123456789012-abcdefGHIJKL": "a token of Slack",
    "sk-" + "a1B2" * 12: "an API key",
    "sk-proj-" + "a_1-" + "Z9" * 20: "an API key",
    "glpat-" + "x-Y_3" * 4: "a token of GitLab",
    "hf_" + "aBcD" * 9: "a token of Hugging Face",
    "Bearer " + "a1.b2-c3_d4e5==": "a bearer token",
    "bearer " + "abcdefgh" * 4: "a bearer token",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE": "a private key",
    "-----BEGIN PRIVATE KEY-----\nMIIE": "a private key",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "c2lnbmF0dXJl": "a JSON web token",
}  # fmt: skip
"""None of them was ever anybody's."""


@pytest.mark.parametrize(("token", "what"), TOKENS.items(), ids=range(len(TOKENS)))
def test_a_token_is_refused_under_any_name_and_never_told(folder, token, what):
    for text in (token, f"ask with {token}, please", f"https://host/{token}/x", f"x={token}${{nothing}}"):
        sentence = refused(folder, {"words": text})
        assert sentence.startswith(f"some.yaml:7: work.words must not hold {what}, ")
        assert "environment variable" in sentence
        assert token[-8:] not in sentence
    assert f"work.options.headers.1 must not hold {what}" in refused(folder, {"options": {"headers": ["x", token]}})
    assert f"command line: work.words must not hold {what}" in refused(folder, {}, [f"work.words={json.dumps(token)}"])


def test_a_token_that_is_put_together_is_refused_too(folder):
    parts = {"words": "${.options.first}${.options.rest}", "options": {"first": "ghp_", "rest": "a1B2" * 9}}
    assert "work.words must not hold a token of GitHub" in refused(folder, parts)


_WORD = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), min_size=1, max_size=24)
ORDINARY = st.one_of(
    st.binary(max_size=400).map(lambda data: hashlib.sha256(data).hexdigest()),
    st.binary(max_size=400).map(lambda data: base64.b64encode(data).decode()),
    st.binary(max_size=400).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.dictionaries(_WORD, _WORD | st.integers()).map(lambda d: base64.b64encode(json.dumps(d).encode()).decode()),
    st.uuids().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.lists(_WORD, max_size=8).map(" ".join),
    st.tuples(st.lists(_WORD, max_size=6).map("/".join), st.sampled_from(["", "/x.zarr", "/*.tif"])).map("".join),
    st.lists(_WORD | st.integers(0, 9999).map(str), max_size=6).map("-".join),
    st.lists(_WORD | st.integers(0, 9999).map(str), max_size=6).map("_".join),
)  # fmt: skip


@given(ORDINARY)
def test_ordinary_values_are_no_tokens(value):
    for text in (value, f"sk-{value.replace('=', '')[:16]}", f"data/{value}"):
        assert problem_of("it", "words", text) == ""


@pytest.mark.parametrize(
    "value",
    ["sk-bratislava-2024-orthophoto-25cm-mosaic", "disk-2024a/" + "0a" * 20, "the bearer of the ring", "hf_band_2024",
     "Bearer shares of 2024", "eyJhIjoxfQ==", "glpat-x", "AKIAbc", "AKIA/x", "-----BEGIN CERTIFICATE-----", "xoxo-2024",
     "-----BEGIN PUBLIC KEY-----", "task-" + "a1" * 16, "s3://sk-internationalization/x", "my_ghp_scenes"],
)  # fmt: skip
def test_what_only_begins_like_a_token_is_none(value):
    assert problem_of("it", "words", value) == ""


@pytest.mark.parametrize(
    "name", ["tokens", "token_count", "key_frames", "sort_key", "keyboard", "secretary", "GOOGLE_FILE"]
)
def test_names_that_only_sound_like_secrets(name):
    assert not is_secret_name(name, "x")
    assert not is_secret_name("key", 3)


def test_keys_are_looked_at_like_values(monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", CANARY)
    assert "value of SERVICE_TOKEN" in problem_of("it", "options", {"a": {CANARY: 1}})
    assert problem_of("it", "options", {"a": {"b": 1}}) == ""


def test_the_path_of_a_file_is_no_secret_and_what_only_looks_like_one_is(folder, monkeypatch):
    key = folder / "key.json"
    key.touch()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert problem_of("it", "words", f"gcs with {key}") == ""
    monkeypatch.setenv("SERVICE_TOKEN", f"/{CANARY}")
    assert "work.words must not contain the value of SERVICE_TOKEN" in refused(folder, {"words": f"a /{CANARY}"})


def test_a_notebook_refuses_what_a_scheduler_pasted(cells, monkeypatch, capsys):
    monkeypatch.setenv("SERVICE_TOKEN", CANARY)
    declared = 'token: str = ""  # a variable\nwords: str = ""  # any\nsource: str = ""  # in: x'
    for pasted in (f"token = {CANARY!r}", f"words = '-{CANARY}'", f"source = 'https://me:{CANARY}@host'"):
        with pytest.raises(ConfigError) as caught:
            cells(declared, pasted, ENTER)
        assert CANARY not in str(caught.value)
        assert str(caught.value).count("\n") == 0
    assert CANARY not in capsys.readouterr().out
    assert cells(declared, "token = 'SERVICE_TOKEN'", ENTER)["token"] == "SERVICE_TOKEN"


def test_nothing_secret_is_in_a_record(folder):
    write_notebook(
        folder / "work.ipynb", DECLARED, "import os\nassert os.environ[token]\nopen(target, 'w').write(token)", "1 / 0"
    )
    params = {"token": "SERVICE_TOKEN", "target": "${root}/a.txt"}
    config = write_config(folder / "some.yaml", {"work": {"params": params}})
    environment = os.environ | {"AWS_SECRET_ACCESS_KEY": CANARY}
    command = [sys.executable, "-m", "patchmill", "run", str(config)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert {"report.html", "manifest.json", "work.ipynb", "work.log", "work.html"} <= {path.name for path in files}
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in ended.stdout + ended.stderr


# -- code --------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES)
def test_a_value_stays_a_value_in_the_cell_that_papermill_makes(value):
    from papermill.translators import PythonTranslator

    # As a stage's process gets it.
    value = json.loads(json.dumps(value))
    (assigned,) = ast.parse(PythonTranslator.codify({"x": value})).body
    found = assigned.value
    # papermill writes infinity as a call of float on a text, which nobody but itself can have put there.
    assert found is not None
    allowed = (ast.Constant, ast.List, ast.Dict, ast.UnaryOp, ast.USub, ast.Load)
    names = [node for node in ast.walk(found) if not isinstance(node, allowed)]
    if names:
        assert "inf" in json.dumps(value).lower()
    else:
        assert ast.literal_eval(found) == value


@pytest.mark.parametrize("name", ["x = 1; import os", "class", "a.b", "x\n1/0 #", "", "1x", "__import__('os')"])
def test_a_name_that_is_no_identifier_never_gets_to_a_notebook(folder, name):
    # Only what a cell of Python assigns to can be declared, and nothing else can be given.
    assert "is no parameter of work.ipynb" in refused(folder, {name: 1})


def test_text_in_a_parameter_is_not_executed(folder):
    evil = "'; open('pwned', 'w').close() #\n\"\"\"\nopen('pwned', 'w').close()\n\\"
    params = {"words": evil, "options": {evil: [evil]}, "target": "${root}/a.txt"}
    config = write_config(folder / "some.yaml", {"work": {"params": params}})
    import patchmill

    run = patchmill.run(config)
    assert (folder / "out" / "a.txt").read_text() == evil
    assert not list(folder.rglob("pwned"))
    assert not os.path.exists("pwned")
    assert run.state == "done"


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["../elsewhere/a", "${root}/../a", "/tmp/a", "~/a", "file:///tmp/a", "FILE:///tmp/a", "file://localhost/tmp/a",
     "/tmp/x://a", "${root}", "${root}/link/a", "${root}x/a", "temp:../a", "temp:x/../../a"],
)  # fmt: skip
def test_no_output_lies_outside_of_the_root(folder, target):
    (folder / "out").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "out" / "link").symlink_to(folder / "elsewhere")
    for params in ({"target": target}, {"further": [target, "${root}/fine"]}):
        said = "is the root itself" if target == "${root}" else "does not lie under the root"
        assert (said in refused(folder, params)) != target.startswith("temp:")


def test_a_root_elsewhere_has_no_local_outputs(folder):
    sentence = refused(folder, {"target": "a"}, root="s3://bucket/x", runs="records")
    assert "does not lie under the root s3://bucket/x" in sentence


def test_an_output_within_the_root_is_fine_however_it_is_written(folder):
    (folder / "real").mkdir()
    (folder / "out").symlink_to(folder / "real")
    for target in ("out/a", "${root}/b/../a", f"file://{folder}/out/a", "temp:a", "s3://bucket/a"):
        config = write_config(folder / "some.yaml", {"work": {"params": {"target": target}}})
        assert "://" not in read_pipeline(str(config)).stages[0].params["target"].replace("s3://", "")


def test_a_temporary_place_is_in_its_folder(capsys):
    with pytest.raises(ValueError, match="can't lead out"):
        TemporaryFolder().place("temp:../x")


def test_folders_of_the_shell_are_no_secrets(folder, monkeypatch):
    monkeypatch.setenv("OLDPWD", str(folder / "gone"))
    monkeypatch.setenv("PWD", str(folder))
    assert problem_of("a.text", "text", f"{folder}/gone/x") == ""
    assert list(taken_from_environment("${oc.env:PWD}/${oc.env:DB_PWD}")) == ["DB_PWD"]
