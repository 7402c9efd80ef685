"""Builds the wheel, installs it into an environment of its own and uses it there: `make wheel`.

It must have every file of the package and nothing else. What is built stays in dist/. Needs the package index, for what
the wheel depends on; knows nothing of what the package does, see smoke.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "django_hacache"
SMOKE = ROOT / ".ci" / "smoke.py"
BUILD_TIMEOUT_S = 300
USE_TIMEOUT_S = 300


def build(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    command = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=BUILD_TIMEOUT_S)
    [wheel] = folder.glob("*.whl")
    return wheel


def differences(held: set[str], expected: set[str]) -> list[str]:
    """What is wrong with the files in a wheel, besides what describes it."""
    return [
        *(f"{name} is missing" for name in sorted(expected - held)),
        *(f"{name} does not belong there" for name in sorted(held - expected)),
    ]


def files_of_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files_of_package() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def use(wheel: Path) -> None:
    """Install and try it where nothing of the checkout is."""
    # A Unix socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="wheel-") as directory:
        environment = Path(directory) / "venv"
        venv.create(environment, with_pip=True)
        python = str(environment / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", str(wheel)], check=True, timeout=BUILD_TIMEOUT_S)
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("HA_", "PYTHON"))
        }
        command = [python, "-W", "error", str(SMOKE)]
        subprocess.run(command, check=True, cwd=directory, env=inherited, timeout=USE_TIMEOUT_S)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        wheel = build(Path(folder))
        wrong = differences(files_of_wheel(wheel), files_of_package())
        if wrong:
            print(f"{wheel.name}:", *wrong, sep="\n  ", file=sys.stderr)
            return 1
        use(wheel)
        (ROOT / "dist").mkdir(exist_ok=True)
        wheel.replace(ROOT / "dist" / wheel.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
