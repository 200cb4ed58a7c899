"""The npm lock file pins every package and names no registry."""

import json
from pathlib import Path

EXTENSION = Path(__file__).parents[3] / "editors" / "vscode"


def test_the_lock_file_pins_each_package_by_its_digest_alone():
    """The file installs from whatever registry the user has configured."""
    lock = json.loads((EXTENSION / "package-lock.json").read_text())
    packages = {name: about for name, about in lock["packages"].items() if name}
    assert packages
    assert [name for name, about in packages.items() if "resolved" in about] == []
    assert [name for name, about in packages.items() if not about.get("integrity", "").startswith("sha512-")] == []


def test_the_lock_file_matches_the_manifest():
    """`npm ci` refuses a lock file of another manifest."""
    manifest = json.loads((EXTENSION / "package.json").read_text())
    root = json.loads((EXTENSION / "package-lock.json").read_text())["packages"][""]
    for kind in ("dependencies", "devDependencies"):
        assert root[kind] == manifest[kind]
