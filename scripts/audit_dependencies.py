#!/usr/bin/env python3
"""Looks the pinned Python and npm packages up in the databases of advisories: scripts/audit

Ends with 1 where a package has a known vulnerability. A database that cannot be reached is said, and is no failure.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
EXTENSION = REPOSITORY / "editors/vscode"
TIMEOUT_SECONDS = 120


def audit_python() -> list[str]:
    """What is known against the packages of constraints.txt."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip"]
    found = run_json([*command, "--progress-spinner", "off", "--format", "json"], REPOSITORY)
    packages = found.get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    report("Python packages", len(audited), len(packages))
    return [
        f"{package['name']} {package['version']}: {advisory['id']}, fixed in {', '.join(advisory['fix_versions'])}"
        for package in audited
        for advisory in package["vulns"]
    ]


def audit_npm() -> list[str]:
    """What is known against the packages of the VS Code extension's lock file."""
    if not shutil.which("npm") or not (EXTENSION / "package-lock.json").exists():
        report("npm packages", 0, 0)
        return []
    found = run_json(["npm", "audit", "--json", "--package-lock-only"], EXTENSION)
    count = found.get("metadata", {}).get("dependencies", {}).get("total", 0)
    report("npm packages", count, count)
    return [f"{name}: {about['severity']}" for name, about in found.get("vulnerabilities", {}).items()]


def run_json(command: list[str], folder: Path) -> dict[str, Any]:
    """The JSON object that a command prints; empty where it prints none or takes too long."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
        value = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
    return value if isinstance(value, dict) else {}


def report(what: str, audited: int, total: int) -> None:
    """Says how many packages were looked up, and that none was where the database is out of reach."""
    reached = f"{audited} of {total} looked up" if audited else "not looked up, since no database could be reached"
    print(f"Advisories for {what}: {reached}.")


def main() -> int:
    """Both audits, one line for each vulnerability."""
    found = [*audit_python(), *audit_npm()]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
