import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import vidsim

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "vidsim").rglob("*") if p.suffix in {".py", ".typed"}}
    recipes = {f"vidsim/configs/train/{path.name}" for path in (ROOT / "configs/train").glob("*.toml")}
    expected = {*modules, *recipes, "vidsim/configs/paper.toml"}
    assert {n for n in names if not n.split("/")[0].endswith(".dist-info")} == expected
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_the_wheel_runs_from_an_empty_folder(wheel, tmp_path):
    code = "import vidsim, sys; from vidsim.cli import main; print(vidsim.__file__); main(['models', '--json'])"
    environment = {"PYTHONPATH": str(wheel), "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert run.stdout.startswith(str(wheel))
    assert "motion-energy" in run.stdout


def test_versions_agree():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == vidsim.__version__


def test_public_names_exist_and_importing_vidsim_stays_light():
    assert all(hasattr(vidsim, name) for name in vidsim.__all__)
    code = "import sys, vidsim; print([m for m in ('numpy', 'torch', 'pyarrow', 'lancedb') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_help_and_models_import_nothing_heavy():
    for arguments in (["--help"], ["models"]):
        code = f"""
import sys
from vidsim.cli import main
try:
    main({arguments})
except SystemExit:
    pass
heavy = ("torch", "pyarrow", "lancedb", "transformers", "av")
print([m for m in heavy if m in sys.modules], file=sys.stderr)
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stderr == "[]\n"


def test_constraints_pin_what_the_package_asks_for():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    groups = {name: lines for name, lines in project["optional-dependencies"].items() if name != "gpu"}
    for line in [*project["dependencies"], *(line for lines in groups.values() for line in lines)]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name]), line
