"""Discovery: what is found on real folders, links and installed distributions, and what is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from toolrunner.plugins import discovery
from toolrunner.plugins.discovery import OFF_BY_DEFAULT, Broken, DiscoveryError, Plugin, discover
from toolrunner.plugins.manifest import read_inline

BUNDLED = Path(discovery.__file__).resolve().with_name("bundled")


def a_plugin(path: Path, name: str, *, extra: str = "", body: str = "") -> Path:
    """Write a plugin file whose import would leave a mark beside it, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    more = "".join(f"# {line}\n" for line in extra.splitlines())
    path.write_text(
        f'# /// script\n# [tool.toolrunner]\n# name = "{name}"\n{more}# ///\n'
        f"import pathlib\npathlib.Path(__file__ + '.imported').touch()\n"
        f"def run(payload):\n    return {{}}\n{body}"
    )
    return path


def a_folder(folder: Path, name: str, entry: str = "main:run") -> Path:
    """Write a folder plugin whose import would leave a mark, and return the folder."""
    folder.mkdir(parents=True)
    (folder / "toolrunner.toml").write_text(
        f'[tool.toolrunner]\nname = "{name}"\nentry = "{entry}"\n'
    )
    (folder / "main.py").write_text("open(__file__ + '.imported', 'w').close()\n")
    return folder


def found(*paths: Path | str, allow: tuple[str, ...] = ()) -> tuple[list[Plugin], list[Broken]]:
    """Discover on these paths only."""
    return discover(paths, allow_installed=allow, bundled=False)


def names(plugins: list[Plugin] | list[Broken]) -> list[str]:
    """Return the names in order."""
    return [plugin.name for plugin in plugins]


def only_broken(*paths: Path | str, allow: tuple[str, ...] = ()) -> Broken:
    """Discover on these paths, where there is one plugin that cannot be used."""
    usable, broken = found(*paths, allow=allow)
    assert usable == []
    (one,) = broken
    return one


def test_a_file_of_a_folder_plugin_is_told_of_its_folder(tmp_path: Path) -> None:
    """And one that is no Python is not told to write a comment of Python."""
    (tmp_path / "main.mjs").write_text("// code")
    with pytest.raises(DiscoveryError, match=r"a plugin is a file of Python, or a folder with"):
        discover([tmp_path / "main.mjs"])
    (tmp_path / "toolrunner.toml").write_text('[tool.toolrunner]\nname = "a"\nentry = "main:run"')
    with pytest.raises(DiscoveryError, match=f"the plugin is its folder, .*: name {tmp_path}$"):
        discover([tmp_path / "main.mjs"])


def test_the_bundled_plugins_are_found() -> None:
    """The plugins that come along are there, whether or not they can run; some if allowed alone."""
    files = {path for path in BUNDLED.glob("*.py") if not path.name.startswith("_")}
    off = {BUNDLED / f"{name}.py" for name in OFF_BY_DEFAULT}
    usable, broken = discover()
    assert {one.path for one in usable} | {one.path for one in broken} == files - off
    usable, broken = discover(allow_bundled=OFF_BY_DEFAULT)
    assert {one.path for one in usable} | {one.path for one in broken} == files
    assert {plugin.origin for plugin in usable} == {"bundled"}
    assert {plugin.kind for plugin in usable} == {"file"}


def test_a_file_is_a_plugin(tmp_path: Path) -> None:
    """A path may name one plugin file, given as text, as a path, or alone."""
    path = a_plugin(tmp_path / "p.py", "p")
    expected = [Plugin(read_inline(path), path, "", "file", str(path))]
    assert found(path) == (expected, [])
    assert found(str(path)) == (expected, [])
    assert discover(path, bundled=False) == (expected, [])


def test_a_path_is_real_and_its_origin_is_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box binds real files; a person recognizes what was typed."""
    a_plugin(tmp_path / "real" / "p.py", "p")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    (plugin,) = found("link")[0]
    assert (plugin.path, plugin.origin) == (tmp_path / "real" / "p.py", "link")


def test_a_folder_holds_plugins_among_other_things(tmp_path: Path) -> None:
    """Helpers, hidden and private files, and folders without a manifest are passed over."""
    a_plugin(tmp_path / "b.py", "b")
    a_plugin(tmp_path / "a.py", "a")
    a_plugin(tmp_path / "_private.py", "private")
    a_plugin(tmp_path / ".hidden.py", "hidden")
    a_plugin(tmp_path / "text.txt", "text")
    a_plugin(tmp_path / "sub" / "deep.py", "deep")
    a_folder(tmp_path / "whole", "whole")
    a_folder(tmp_path / "_off", "off")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "helper.py").write_text("import os\n")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    usable, broken = found(tmp_path)
    assert (names(usable), broken) == (["a", "b", "whole"], [])


def test_a_folder_with_a_manifest_is_one_plugin(tmp_path: Path) -> None:
    """Its files are its own code, even those that carry a block."""
    folder = a_folder(tmp_path / "whole", "whole")
    a_plugin(folder / "inner.py", "inner")
    (plugin,) = found(folder)[0]
    assert (plugin.name, plugin.path, plugin.entry, plugin.kind) == (
        "whole",
        folder,
        "main:run",
        "folder",
    )


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    """A folder that plugins will be put into is no mistake."""
    assert found(tmp_path) == ([], [])


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No code of a plugin runs, no module appears, and no bytecode is written."""
    a_plugin(tmp_path / "p.py", "p")
    a_folder(tmp_path / "whole", "whole")
    site = a_distribution(tmp_path / "site", "demo-dist", value="demo_pkg.main:run")
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    usable, _ = found(tmp_path, allow=("demo-dist",))
    assert names(usable) == ["demo", "p", "whole"]
    assert not list(tmp_path.rglob("*.imported"))
    assert not list(tmp_path.rglob("__pycache__"))
    assert not {"p", "main", "demo_pkg", "demo_pkg.main"} & (set(sys.modules) - before)


def test_code_that_does_not_compile_is_not_looked_at(tmp_path: Path) -> None:
    """Discovery reads the manifest alone; the load in the box will tell the rest."""
    assert names(found(a_plugin(tmp_path / "p.py", "p", body="def ("))[0]) == ["p"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "gone", "no such file or folder"),
        (lambda _: "~/plugins", "~ is not expanded"),
        (lambda _: "", "an empty plugin path"),
        (lambda _: "a\0b", "no such file or folder"),
        (lambda _: "x" * 300, "cannot be searched"),
        (lambda _: "/dev/null", "neither a file nor a folder"),
        (lambda folder: write(folder / "h.py", "pass\n"), "a plugin has at least:"),
        (lambda folder: link(folder / "loop", "loop"), "no such file or folder"),
        (lambda folder: link(folder / "dangling", "gone"), "no such file or folder"),
    ],
    ids=["gone", "home", "empty", "NUL", "long", "device", "helper", "loop", "dangling"],
)
def test_a_path_that_leads_nowhere_is_the_operators_mistake(
    tmp_path: Path, make: object, words: str
) -> None:
    """A typing error in the settings is not passed over in silence."""
    assert callable(make)
    with pytest.raises(DiscoveryError, match=words):
        found(make(tmp_path))


def write(path: Path, text: str) -> Path:
    """Write a file and return its path."""
    path.write_text(text)
    return path


def link(path: Path, target: str) -> Path:
    """Make a symbolic link and return its path."""
    path.symlink_to(target)
    return path


def test_a_broken_manifest_is_listed_under_the_name_it_states(tmp_path: Path) -> None:
    """What can be read of it is shown, with the reason."""
    path = a_plugin(
        tmp_path / "x.py", "nice", extra='version = "2"\ndescription = "d"\nlimits.threads = 0'
    )
    broken = only_broken(tmp_path)
    assert (broken.name, broken.version, broken.description) == ("nice", "2", "d")
    assert broken.path == path
    assert broken.reason.startswith(f"ManifestError: {path}:6: tool.toolrunner.limits.threads: ")


@pytest.mark.parametrize(
    ("stem", "name"),
    [("My Tool", "my-tool"), ("-x", "x"), ("é", "plugin"), ("a" * 80, "a" * 64)],
)
def test_a_broken_manifest_without_a_name_is_listed_under_its_files(
    tmp_path: Path, stem: str, name: str
) -> None:
    """Any file name is made into a legal plugin name."""
    a_plugin(tmp_path / f"{stem}.py", "NOT LEGAL")
    assert only_broken(tmp_path).name == name


def test_broken_files_do_not_hide_the_good_ones(tmp_path: Path) -> None:
    """A folder with every kind of trouble still gives what is sound."""
    a_plugin(tmp_path / "good.py", "good")
    a_plugin(tmp_path / "bad.py", "bad", extra="zzz = 1")
    write(tmp_path / "open.py", "# /// script\n# [tool.toolrunner]\n")
    link(tmp_path / "dangling.py", "gone")
    link(tmp_path / "loop.py", "loop.py")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty" / "toolrunner.toml", "")
    (tmp_path / "nowhere").mkdir()
    link(tmp_path / "nowhere" / "toolrunner.toml", "gone")
    usable, broken = found(tmp_path)
    assert names(usable) == ["good"]
    assert sorted(names(broken)) == ["bad", "dangling", "empty", "loop", "nowhere", "open", "pipe"]
    assert all(one.reason.startswith("ManifestError: ") for one in broken)


def test_a_named_file_with_a_broken_manifest_is_listed(tmp_path: Path) -> None:
    """A plugin's mistake does not stop the others from starting."""
    assert only_broken(a_plugin(tmp_path / "p.py", "p", extra="zzz = 1")).name == "p"


def test_what_a_plugin_requires_is_not_looked_at(tmp_path: Path) -> None:
    """It may be installed for this plugin alone, which whoever asks for its environment knows."""
    text = (
        '# /// script\n# requires-python = ">=99"\n# dependencies = ["absent-thing>=1"]\n'
        '# [tool.toolrunner]\n# name = "p"\n# ///\n'
    )
    write(tmp_path / "p.py", text)
    usable, broken = found(tmp_path)
    assert names(usable) == ["p"]
    assert broken == []


def test_a_name_that_two_files_claim_belongs_to_neither(tmp_path: Path) -> None:
    """Nothing is shadowed in silence: both are dropped, with one reason that names both."""
    first = a_plugin(tmp_path / "a" / "x.py", "same")
    second = a_plugin(tmp_path / "b" / "y.py", "same")
    broken = only_broken(first, second.parent)
    assert broken.name == "same"
    assert f"{first} " in broken.reason
    assert f"{second} " in broken.reason
    assert "rename one" in broken.reason


def test_a_bundled_name_cannot_be_taken(tmp_path: Path) -> None:
    """A file of the name of a bundled plugin does not replace it unnoticed."""
    bundled = discover()[0][0]
    usable, broken = discover([a_plugin(tmp_path / "x.py", bundled.name)])
    assert bundled.name not in names(usable)
    (one,) = [one for one in broken if one.name == bundled.name]
    assert str(bundled.path) in one.reason


def test_a_broken_file_does_not_take_the_name_of_a_good_one(tmp_path: Path) -> None:
    """Every name occurs once over both lists, and the good one keeps it."""
    a_plugin(tmp_path / "a.py", "same")
    a_plugin(tmp_path / "b.py", "same", extra="zzz = 1")
    a_plugin(tmp_path / "c.py", "same", extra="zzz = 1")
    usable, broken = found(tmp_path)
    assert names(usable) == ["same"]
    assert names(broken) == ["same-2", "same-3"]


def test_a_file_given_twice_is_one_plugin(tmp_path: Path) -> None:
    """By its folder, by its name, by a link, and once more."""
    path = a_plugin(tmp_path / "a" / "p.py", "p")
    bad = a_plugin(tmp_path / "a" / "bad.py", "bad", extra="zzz = 1")
    alias = link(tmp_path / "alias.py", str(path))
    usable, broken = found(path.parent, path, alias, bad, f"{path.parent}/../a/p.py")
    assert (names(usable), names(broken)) == (["p"], ["bad"])


def a_distribution(
    site: Path, name: str, *, value: str, entry: str = "", manifest: str = "demo_pkg"
) -> Path:
    """Install a distribution as an installer would, and return the folder it lies in."""
    package = site / "demo_pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("open(__file__ + '.imported', 'w').close()\n")
    (package / "main.py").write_text("def run(payload):\n    return {}\n")
    files = ["demo_pkg/__init__.py", "demo_pkg/main.py"]
    if manifest:
        stated = f'entry = "{entry}"\n' if entry else ""
        (site / manifest / "toolrunner.toml").write_text(
            f'[tool.toolrunner]\nname = "demo"\nversion = "3"\n{stated}'
        )
        files.append(f"{manifest}/toolrunner.toml")
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[toolrunner.plugins]\ndemo-point = {value}\n")
    files += [f"{info.name}/{file}" for file in ("METADATA", "entry_points.txt", "RECORD")]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return site


@pytest.mark.parametrize("allowed", ["demo-dist", "Demo.Dist", "demo_dist"])
def test_an_allowed_distribution_gives_its_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    """Its package folder is the plugin, whichever way the operator spells its name."""
    site = a_distribution(tmp_path, "demo-dist", value="demo_pkg.main:run")
    monkeypatch.syspath_prepend(str(site))
    usable, broken = found(allow=(allowed,))
    assert broken == []
    (plugin,) = usable
    assert (plugin.name, plugin.path, plugin.entry, plugin.kind, plugin.origin) == (
        "demo",
        tmp_path / "demo_pkg",
        "demo_pkg.main:run",
        "installed",
        "installed: demo-dist 1.2",
    )


def test_a_distribution_that_was_not_allowed_is_listed_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not used, and the operator reads what to write to change that."""
    site = a_distribution(tmp_path, "demo-dist", value="demo_pkg.main:run")
    monkeypatch.syspath_prepend(str(site))
    broken = only_broken()
    assert (broken.name, broken.path, broken.version) == ("demo-point", None, "1.2")
    assert broken.reason.startswith("PermissionError: ")
    assert 'allow_installed = ["demo-dist"]' in broken.reason


@pytest.mark.parametrize(
    ("value", "entry", "expected"),
    [
        ("demo_pkg.main:run", "main:run", "demo_pkg.main:run"),
        ("demo_pkg.main:run", "demo_pkg.main:run", "demo_pkg.main:run"),
        ("demo_pkg.main : run [extra]", "", "demo_pkg.main:run"),
        ("demo_pkg:run", "", "demo_pkg:run"),
        ("demo_pkg:run", "demo_pkg:run", "demo_pkg:run"),
        ("demo_pkg", "main:run", "demo_pkg.main:run"),
    ],
)
def test_the_entry_of_an_installed_plugin_has_the_modules_full_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, entry: str, expected: str
) -> None:
    """The entry point names the object, and toolrunner.toml may say the same."""
    monkeypatch.syspath_prepend(
        str(a_distribution(tmp_path, "demo-dist", value=value, entry=entry))
    )
    usable, broken = found(allow=("demo-dist",))
    assert broken == []
    assert [plugin.entry for plugin in usable] == [expected]


@pytest.mark.parametrize(
    ("value", "entry", "manifest", "words"),
    [
        ("demo_pkg.main:run", "main:other", "demo_pkg", "make the two the same"),
        ("demo_pkg", "", "demo_pkg", "names no object"),
        ("demo_pkg.main:ru n()", "", "demo_pkg", '"module:object"'),
        ("../demo_pkg:run", "", "demo_pkg", '"package.module:object"'),
        ("demo_pkg.main:run", "", "", "ship it as package data"),
        ("demo_pkg.main:run", "", "elsewhere", "ship it as package data"),
        ("other_pkg.main:run", "", "demo_pkg", "ship it as package data"),
    ],
)
def test_an_allowed_distribution_that_is_wrong_is_listed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    entry: str,
    manifest: str,
    words: str,
) -> None:
    """The reason tells its author what to ship."""
    (tmp_path / "elsewhere").mkdir()
    site = a_distribution(tmp_path, "demo-dist", value=value, entry=entry, manifest=manifest)
    monkeypatch.syspath_prepend(str(site))
    broken = only_broken(allow=("demo-dist",))
    assert broken.name in {"demo", "demo-point"}
    assert broken.reason.startswith("ManifestError: demo-dist 1.2: entry_points.txt: ")
    assert words in broken.reason


def test_a_manifest_that_another_distribution_ships_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is allowed may not point at what somebody else installed."""
    site = a_distribution(tmp_path, "demo-dist", value="demo_pkg.main:run")
    record = next(site.glob("*.dist-info")) / "RECORD"
    record.write_text(record.read_text().replace("demo_pkg/toolrunner.toml,,\n", ""))
    monkeypatch.syspath_prepend(str(site))
    assert "among the files of demo-dist 1.2" in only_broken(allow=("demo-dist",)).reason


def test_a_broken_manifest_of_an_installed_plugin_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file it stands in."""
    site = a_distribution(tmp_path, "demo-dist", value="demo_pkg.main:run", entry="(")
    monkeypatch.syspath_prepend(str(site))
    broken = only_broken(allow=("demo-dist",))
    assert (broken.name, broken.version) == ("demo", "3")
    assert f"{site}/demo_pkg/toolrunner.toml:4: tool.toolrunner.entry" in broken.reason


def test_two_entry_points_of_one_manifest_are_one_plugin_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One toolrunner.toml describes one plugin."""
    site = a_distribution(tmp_path, "demo-dist", value="demo_pkg.main:run")
    with (next(site.glob("*.dist-info")) / "entry_points.txt").open("a") as file:
        file.write("second = demo_pkg.main:other\n")
    monkeypatch.syspath_prepend(str(site))
    usable, broken = found(allow=("demo-dist",))
    assert (names(usable), names(broken)) == (["demo"], ["second"])
    assert "share one toolrunner.toml" in broken[0].reason


def test_an_allowed_distribution_that_is_not_installed_is_listed() -> None:
    """A typing error in the settings does not leave a plugin missing in silence."""
    broken = only_broken(allow=("Absent_Dist",))
    assert broken.name == "absent-dist"
    assert broken.reason.startswith("PackageNotFoundError: allow_installed names 'Absent_Dist'")


def test_damaged_distributions_do_not_stop_discovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other software's broken metadata is passed over, unless the operator named it."""
    site = a_distribution(tmp_path, "demo-dist", value="demo_pkg.main:run")
    (next(site.glob("*.dist-info")) / "entry_points.txt").write_bytes(b"[\xff")
    (site / "nameless-1.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(site))
    assert found() == ([], [])
    assert only_broken(allow=("demo-dist",)).reason.endswith("install it again")
