"""What pyproject.toml cannot say: a wheel carries the workflow inside the package, in `robustft/project/`.

In git each file lies once, where a checkout needs it; `robustft.files.ROOT` is the checkout or that folder.
"""

import json
import shutil
import subprocess
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

HERE = Path(__file__).resolve().parent
PROJECT = (
    *("Snakefile", "dvc.yaml", "pyproject.toml", "CITATION.cff", "LICENSE"),
    *("config/**/*.yaml", "config/**/*.csv", "profiles/*/*.yaml", "envs/*.txt"),
    *("pipeline/rules/**/*.smk", "pipeline/rules/**/*.rst"),
    *("docker/install.sh", "docker/*/Dockerfile", "docker/*/*.def"),
    *("benchmarks/machines.yaml", "benchmarks/passes/*.json", "benchmarks/observed/*.json"),
)
"""What a run, its records and its audit read beside the package."""


def git(*arguments: str) -> str | None:
    """Return what git says of this folder, None where it says nothing."""
    try:
        return subprocess.run(
            ["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def build_facts() -> dict[str, object]:
    """Return the commit that is built and whether all tracked files equal it; None for what is not known."""
    if git("rev-parse", "--show-toplevel") != str(HERE):  # an unpacked archive, perhaps inside another repository
        return {"commit": None, "clean": None}
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    return {"commit": git("rev-parse", "--verify", "HEAD"), "clean": None if changes is None else not changes}


class build_project(Command):  # noqa: N801 (setuptools names commands so)
    """Copy the project into the package that is built. The methods are those of setuptools' `SubCommand`."""

    def initialize_options(self) -> None:
        """Set what setuptools fills in."""
        self.editable_mode = False
        self.build_lib: str = None  # type: ignore[assignment]

    def finalize_options(self) -> None:
        """Ask where the package is built."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def get_source_files(self) -> list[str]:
        """Return the project's files; an archive of the source (sdist) holds them too."""
        paths = (path for pattern in PROJECT for path in HERE.glob(pattern))
        return sorted(path.relative_to(HERE).as_posix() for path in paths)

    def get_output_mapping(self) -> dict[str, str]:
        """Return the source of each file that is built."""
        return {f"{self.build_lib}/robustft/project/{name}": name for name in self.get_source_files()}

    def get_outputs(self) -> list[str]:
        """Return the files that are built."""
        return [*self.get_output_mapping(), f"{self.build_lib}/robustft/project/build.json"]

    def run(self) -> None:
        """Copy the files. An editable install needs none: its package lies in the checkout."""
        if self.editable_mode:
            return
        shutil.rmtree(Path(self.build_lib) / "robustft", ignore_errors=True)  # what an earlier build left
        for target, name in self.get_output_mapping().items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HERE / name, target)
        facts = Path(self.build_lib) / "robustft" / "project" / "build.json"
        facts.write_text(json.dumps(build_facts()) + "\n", encoding="utf-8")


# First, for it empties the folder of the package.
build.sub_commands = [("build_project", None), *build.sub_commands]
setup(cmdclass={"build_project": build_project})
