"""A folder of wheels from which the command can be installed offline: its own, built, and those of what it requires."""

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]


def build_wheelhouse(folder: Path) -> Path:
    """Builds Codekin's wheel into a folder, and packs what it requires without extras as it is installed here."""
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    for name in required_packages(project["dependencies"]):
        pack_wheel(distribution(name), folder)
    return folder


def required_packages(lines: Iterable[str]) -> set[str]:
    """The canonical names of the packages in requirements, and of all that those require here."""
    found, waiting = set[tuple[str, str]](), list(_needed(lines, ""))
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += _needed(distribution(one[0]).requires or (), one[1])
    return {package for package, _ in found}


def _needed(lines: Iterable[str], extra: str) -> Iterator[tuple[str, str]]:
    """The packages of the requirements that hold for an extra, each with each extra that it is wanted with."""
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            package = canonicalize_name(requirement.name)
            yield from ((package, each) for each in ("", *requirement.extras))


def pack_wheel(installed: Distribution, folder: Path) -> Path:
    """The wheel that an installed package came from, without its scripts, which its entry points make anew."""
    tags = [line.removeprefix("Tag: ") for line in (installed.read_text("WHEEL") or "").split("\n") if "Tag: " in line]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*(tag.split("-") for tag in tags), strict=True))
    files = [file for file in installed.files or () if ".." not in file.parts and "__pycache__" not in file.parts]
    (record,) = (file for file in files if file.name == "RECORD" and len(file.parts) == 2)
    path = folder / f"{record.parent.name.removesuffix('.dist-info')}-{tag}.whl"
    with ZipFile(path, "w") as wheel:
        for file in files:
            if file.name not in {"RECORD", "direct_url.json", "INSTALLER", "REQUESTED"}:
                wheel.write(file.locate(), file)
        wheel.writestr(str(record), "".join(f"{name},,\n" for name in [*wheel.namelist(), record]))
    return path
