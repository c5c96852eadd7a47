"""What reaches uv of what the operator has told it, and what does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.host.test_scarce import ROOT
from toolrunner.runner.environments.uv import configuration


def test_uvs_own_variables_are_passed_on_and_no_others(tmp_path: Path) -> None:
    """Indexes with their passwords, proxies, certificates; nothing that is a secret of others."""
    links = tmp_path / "links"
    links.mkdir()
    certificates = tmp_path / "ca.pem"
    certificates.write_text("")
    passed = {
        "UV_DEFAULT_INDEX": "https://user:word@index.example/simple",
        "UV_INDEX": f"ours=file://{links}",
        "UV_INDEX_OURS_PASSWORD": "word",
        "HTTPS_PROXY": "http://proxy.example",
        "SSL_CERT_FILE": str(certificates),
    }
    others = {
        "UV_PUBLISH_TOKEN": "secret",
        "UV_CACHE_DIR": "/elsewhere",
        "UV_PYTHON": "/elsewhere",
        "UV_TARGET": "/elsewhere",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HOME": str(tmp_path),
        "PYTHONPATH": "/elsewhere",
    }
    found = configuration({**passed, **others})
    assert found.variables == passed
    assert set(found.paths) == {str(links), str(certificates)}
    assert found.file == ""


def test_uvs_own_file_is_read_where_uv_looks_for_it(tmp_path: Path) -> None:
    """What it names on this host, the box may read."""
    links = tmp_path / "links"
    links.mkdir()
    (tmp_path / "uv").mkdir()
    text = f'find-links = ["{links}"]\n[[index]]\nurl = "https://index.example"\n'
    (tmp_path / "uv/uv.toml").write_text(text)
    found = configuration({"XDG_CONFIG_HOME": str(tmp_path)})
    assert (found.file, found.paths) == (text, (str(links),))
    assert configuration({"XDG_CONFIG_HOME": str(tmp_path), "UV_NO_CONFIG": "1"}).file == ""
    named = tmp_path / "named.toml"
    named.write_text("offline = true\n")
    assert configuration({"UV_CONFIG_FILE": str(named)}).file == "offline = true\n"


def test_without_uv_it_says_how_to_get_it() -> None:
    """It is an extra."""
    script = (
        "import sys; sys.modules['uv'] = None\n"
        "from toolrunner.runner.environments.uv import find_uv\n"
        "from toolrunner.runner.errors import GovernedError\n"
        "try:\n    find_uv()\nexcept GovernedError as error:\n    print(error.error_type, error)\n"
    )
    said = subprocess.check_output([sys.executable, "-P", "-c", script], text=True, cwd=ROOT)
    assert said.startswith("SandboxError")
    assert 'pip install "toolrunner-sandbox[environments]"' in said
    assert 'in a clone: pip install ".[environments]"' in said
