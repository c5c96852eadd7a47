"""Passwords of indexes go to the index that they are for, and no text of others can quote them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.wheels import write_needy, write_wheel
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.disclosure import arguments, environment, file
from toolrunner.runner.environments.install import Installer
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

_WORD = "s3cret/word"


class Index:
    """An index of packages that wants a password, and hears what it is asked."""

    def __init__(self, wheels: Path) -> None:
        self.heard: list[tuple[str, str]] = []
        wanted = "Basic " + base64.b64encode(f"us:{_WORD}".encode()).decode()
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = self.headers.get("Authorization", "")
                heard.append((self.path, told))
                wheel = wheels / self.path.rpartition("/")[2]
                if self.path.startswith("/simple/") and told != wanted:
                    self.answer(401, b"")
                elif self.path == "/simple/alpha/":
                    links = "".join(f'<a href="/simple/{one.name}">{one.name}</a>' for one in
                                    wheels.glob("alpha-*.whl"))  # fmt: skip
                    self.answer(200, links.encode())
                elif wheel.is_file():
                    self.answer(200, wheel.read_bytes())
                else:
                    self.answer(404, b"")

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - as the base class has it

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def said(self) -> str:
        """All that it was told, as text."""
        plain = [base64.b64decode(told.removeprefix("Basic ")) for _, told in self.heard]
        return f"{self.heard} {plain}"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """The index of the operator, and of whoever is hostile as well: it tells them by the path."""
    wheels = tmp_path / "wheels of the index"
    write_wheel(wheels, "alpha")
    made = Index(wheels)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What the operator has told uv: a password for an index."""
    monkeypatch.setenv("UV_INDEX_OURS_USERNAME", "us")
    monkeypatch.setenv("UV_INDEX_OURS_PASSWORD", _WORD)
    return monkeypatch


@pytest.mark.parametrize("place", ["variable", "file"])
def test_an_index_gets_its_password(
    place: str, index: Index, told: pytest.MonkeyPatch, tmp_path: Path, layers: Layers,
    temporary: Path,
) -> None:  # fmt: skip
    """Whichever way it was named; a lock that is made with it does not have it."""
    del temporary
    if place == "variable":
        told.setenv("UV_INDEX", f"ours={index.url}/simple")
    else:
        told.delenv("UV_NO_CONFIG")
        named = tmp_path / "uv.toml"
        named.write_text(f'[[index]]\nname = "ours"\nurl = "{index.url}/simple"\ndefault = true\n')
        told.setenv("UV_CONFIG_FILE", str(named))
    plugin = write_needy(tmp_path, "alpha")
    with Installer(Settings(state=tmp_path / "state"), layers=layers) as installer:
        lock = installer.lock(plugin_at(plugin, "a test"))
        installed = installer.install(plugin_at(plugin, "a test"))
    assert installed is not None
    assert (installed.environment.site_packages / "alpha.py").is_file()
    assert "s3cret" not in lock.read_text()
    assert f"us:{_WORD}" in index.said()


@pytest.mark.parametrize("way", ["manifest", "metadata", "requirements", "project", "name"])
def test_a_plugin_cannot_have_it_sent_elsewhere(
    way: str, index: Index, told: pytest.MonkeyPatch, tmp_path: Path, layers: Layers,
    temporary: Path,
) -> None:  # fmt: skip
    """Not by a URL that quotes a variable, nor by an index of its own of the same name."""
    del temporary
    told.setenv("UV_DEFAULT_INDEX", index.url + "/none")
    quoting = f"{index.url}/hostile/${{UV_INDEX_OURS_PASSWORD}}/x-1.0-py3-none-any.whl"
    project = '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n'
    how = "install"
    if way == "manifest":
        plugin = write_needy(tmp_path, f"x @ {quoting}")
    elif way == "metadata":
        write_wheel(tmp_path / "wheels of the index", "beta", requires=[f"x @ {quoting}"])
        plugin = write_needy(tmp_path, f"beta @ {index.url}/beta-1.0-py3-none-any.whl")
    elif way == "requirements":
        plugin = _folder(tmp_path, "requirements.txt", f"--extra-index-url {quoting}\nx\n")
    elif way == "project":
        plugin = _folder(tmp_path, "pyproject.toml", f'{project}dependencies = ["x @ {quoting}"]')
        how = "lock"
    else:
        text = (
            f'{project}dependencies = ["x"]\n[tool.uv.sources]\nx = {{ index = "ours" }}\n'
            f'[[tool.uv.index]]\nname = "ours"\nurl = "{index.url}/hostile"\n'
            'explicit = true\nauthenticate = "always"\n'
        )
        plugin = _folder(tmp_path, "pyproject.toml", text)
        how = "lock"
    with (
        Installer(Settings(state=tmp_path / "state"), layers=layers) as installer,
        pytest.raises(GovernedError) as error,
    ):
        getattr(installer, how)(plugin_at(plugin, "a test"))
    assert way == "name" or any(path.startswith("/hostile/") for path, _ in index.heard)
    assert "s3cret" not in index.said()
    assert "s3cret" not in json.dumps(error.value.details)


def _folder(tmp_path: Path, name: str, text: str) -> Path:
    folder = tmp_path / "plugin"
    folder.mkdir()
    manifest = 'dependencies = ["x"]\n[tool.toolrunner]\nname = "needy"\nentry = "main:run"\n'
    (folder / "toolrunner.toml").write_text(f'{manifest}input = "json"\n')
    (folder / "main.py").write_text("def run(payload):\n    return {}\n")
    (folder / name).write_text(text)
    return folder


def test_no_secret_has_a_name_that_uv_puts_into_urls() -> None:
    """Proxies keep their names in lower case; indexes are options."""
    variables = {
        "UV_DEFAULT_INDEX": "https://a:b@one.example/simple",
        "UV_INDEX": "our-own=https://x@two.example three=https://three.example",
        "UV_INDEX_OUR_OWN_PASSWORD": "p@/",
        "UV_FIND_LINKS": "/one,https://c:d@links.example",
        "HTTPS_PROXY": "http://e:f@proxy.example",
        "https_proxy": "http://other.example",
        "UV_INDEX_STRATEGY": "first-index",
    }
    assert environment(variables) == {
        "https_proxy": "http://e:f@proxy.example",
        "UV_INDEX_STRATEGY": "first-index",
    }
    assert set(arguments(variables)) == {
        "--default-index=https://a:b@one.example/simple",
        "--index=our-own=https://:p%40%2F@two.example",
        "--index=three=https://three.example",
        "--find-links=/one",
        "--find-links=https://c:d@links.example",
    }
    assert file("[[index]]\nname = 'our-own'\nurl = 'https://two.example'\n", variables) == (
        "[[index]]\nname = 'our-own'\nurl = 'https://:p%40%2F@two.example'\n"
    )
