"""Imports point one way, and a step's declared sources are those that it really imports."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.plan import Plan, sources
from robustft.plan.sources import _imports, closure, source_files, source_hashes

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pipeline" / "robustft"
FOUNDATION = {"robustft", "robustft.errors", "robustft.escape", "robustft.files", "robustft.source_only"}
LAYERS = {
    "runtime": {"parallel"},
    "speed": set(),
    "parallel": set(),
    "config": {"runtime"},
    "data": {"runtime"},
    "models": {"runtime", "speed", "parallel"},
    "attacks": {"speed"},
    "methods": {"attacks", "models", "data", "speed", "parallel", "runtime"},
    "train": {"methods", "attacks", "models", "data", "speed", "parallel", "runtime"},
    "evaluate": {"train", "attacks", "models", "data", "speed", "runtime"},
    "report": {"evaluate", "runtime"},
    "plan": {"config", "report"},
    "provenance": {"report", "evaluate", "data", "runtime", "parallel"},
    "assess": {
        *("config", "data", "models", "attacks", "evaluate", "report", "plan", "provenance", "runtime", "speed"),
    },
    "export": {"provenance", "report", "evaluate", "models", "runtime"},
    "recheck": {"cost", "data", "evaluate", "export", "plan", "provenance", "report", "runtime", "config"},
    "cost": {"data", "report"},
    "images": {"provenance"},
    "api": {"attacks", "models", "config", "plan", "speed"},
    "cli": {
        *("assess", "recheck", "config", "plan", "provenance", "report", "export", "cost", "images"),
        *("data", "models", "methods"),
    },
}
"""What each folder may import besides itself and the foundation."""
PLANNING = {
    "robustft.config.common",
    "robustft.plan",
    "robustft.plan.step",
    "robustft.config.load",
    "robustft.plan.sources",
}
SHARED = {"robustft.methods.protocol", "robustft.methods"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("robustft"):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("robustft")}
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer):
    allowed = LAYERS[layer] | {layer}
    for path in (PACKAGE / layer).rglob("*.py"):
        for module in imports(path) - FOUNDATION:
            if layer in ("provenance", "export", "cost") and module in PLANNING:
                continue
            assert module.split(".")[1] in allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_every_folder_has_a_place_in_the_order():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(LAYERS)


def test_a_method_never_imports_the_loop_the_data_or_another_method():
    for path in (PACKAGE / "methods").glob("*.py"):
        for module in imports(path):
            assert not module.startswith(("robustft.train", "robustft.data", "robustft.evaluate")), path
            assert not module.startswith("robustft.methods.") or module in SHARED, f"{path} imports {module}"


def test_this_package_imports_by_full_names():
    for path in PACKAGE.rglob("*.py"):
        levels = [n.level for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        assert not any(levels), f"{path} imports relatively"


def test_the_planner_is_no_part_of_a_steps_sources():
    planner = tuple(f"pipeline/robustft/{name}/" for name in ("plan", "config", "cli"))
    for step in Plan(Config(scale="demo")).steps.values():
        assert not [name for name in step.sources() if name.startswith(planner)]


def test_a_training_step_depends_on_its_own_method_only():
    plan = Plan(Config(scale="demo"))
    sources = plan.step("train", "twins/main/digits_5to9/twins_at/seed0").sources()
    methods = {Path(name).stem for name in sources if name.startswith("pipeline/robustft/methods/")}
    assert methods == {"__init__", "protocol", "twins"}


def test_an_evaluation_depends_on_no_method():
    plan = Plan(Config(scale="demo"))
    assert not [name for name in plan.evaluations[0].step.sources() if name.startswith("pipeline/robustft/methods/")]


@pytest.mark.parametrize(
    "kind", ["data", "train", "attack", "numbers", "verdicts", "table", "deviations", "figure", "manifest"]
)
def test_a_step_imports_nothing_beyond_its_declared_sources(kind):
    """The declaration is made by reading; this runs the imports and compares."""
    step = Plan(Config(scale="demo")).of_kind(kind)[-1]
    modules = [name.split(":")[0] for name in (step.entry, *step.implementations)]
    code = (
        f"import sys, importlib\nfor m in {modules!r}:\n    importlib.import_module(m)\n"
        "print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'robustft'))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    real = {str(Path(line).resolve().relative_to(ROOT)) for line in said.stdout.split()}
    assert real <= set(step.sources()), real - set(step.sources())


def test_closure_holds_parents_and_lazy_imports():
    found = closure("robustft.attacks.pgd")
    assert {
        "robustft",
        "robustft.source_only",
        "robustft.attacks",
        "robustft.attacks.pgd",
        "robustft.attacks.threat",
    } == set(found)
    assert source_files("robustft.files") == [
        "pipeline/robustft/__init__.py",
        "pipeline/robustft/errors.py",
        "pipeline/robustft/files.py",
        "pipeline/robustft/source_only.py",
    ]


def named(tree: ast.AST) -> set[str]:
    """Return what the import statements of a tree name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}:{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import a, b.c as d\nfrom e.f import g\n",
        "from a import (\n    b,\n    c as d,\n)\n",
        "from a import (  # not the end: )\n    b,\n)\n",
        "from a import b, \\\n    c\n",
        "def f():\n    import a\n    from b import (c)\n",
        "x = 1; import a\nif x: from b import c\n",
        "if True: \\\n    import a\n",
        "from.a import b\nfrom .c import(d)\nfrom . import e\n",
        "try:\n    import a  # (why\nexcept ImportError: import b\n",
    ],
)
def test_imports_are_found_wherever_they_stand(text, tmp_path):
    (tmp_path / "module.py").write_text(text)
    assert named(_imports(tmp_path / "module.py")) == named(ast.parse(text)) != set()


def test_the_imports_of_every_file_are_those_of_its_syntax_tree():
    for path in PACKAGE.rglob("*.py"):
        assert named(_imports(path)) == named(ast.parse(path.read_text())), path


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder on Python's path, for modules that are not this package's; nothing is remembered of it afterwards."""
    remembered = (sources._file_of, sources._direct, sources._verified, sources.source_files, sources.source_path)

    def forget():
        importlib.invalidate_caches()
        for function in remembered:
            function.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield lambda name, text: (tmp_path / name).parent.mkdir(exist_ok=True) or (tmp_path / name).write_text(text)
    forget()


def test_a_method_from_elsewhere_is_followed_into_this_package_and_everything_else(elsewhere):
    """Its imports of this package were not followed: after an edit of a loss the old results still passed the audit."""
    elsewhere("mylab/__init__.py", "")
    elsewhere("mylab/nets.py", "import torch, os\nfrom robustft.methods.trades import Trades\nfrom . import layers\n")
    elsewhere("mylab/layers.py", "from helpers_of_mine import helper\nimport not_installed_here\n")
    elsewhere("helpers_of_mine.py", "def helper(): pass\n")
    files = source_files("mylab.nets")
    assert {"pipeline/robustft/methods/trades.py", "pipeline/robustft/attacks/pgd.py"} <= set(files)
    own = ["elsewhere/helpers_of_mine.py"] + [f"elsewhere/mylab/{name}.py" for name in ("__init__", "layers", "nets")]
    assert [name for name in files if name.startswith("elsewhere/")] == own, "torch is of the lock, os Python's own"
    before = source_hashes(files)
    elsewhere("helpers_of_mine.py", "def helper(): return 1\n")
    assert [name for name, hash in source_hashes(files).items() if hash != before[name]] == own[:1]


def test_a_public_name_of_this_package_is_followed_to_the_module_that_has_it(elsewhere):
    elsewhere("mine.py", "from robustft import threat\n")
    elsewhere("all_of_it.py", "import robustft\n")
    assert "robustft.api.attacks" in closure("mine")
    assert "robustft.api.models" not in closure("mine")
    assert {"robustft.api.models", "robustft.provenance.audit"} <= set(closure("all_of_it"))


def test_an_installed_package_that_the_lock_does_not_name_is_followed(elsewhere, monkeypatch):
    elsewhere("mine.py", "import unlocked, numpy\n")
    elsewhere("unlocked.py", "")
    monkeypatch.setattr(sources, "_distributions", lambda: {"unlocked": ["Unlocked"], "numpy": ["numpy"]})
    assert source_files("mine") == ["elsewhere/mine.py", "elsewhere/unlocked.py"]


def test_this_package_imports_nothing_but_itself_python_and_the_lock():
    """So its other imports need no following."""
    tops = {name.split(":")[0].split(".")[0] for path in PACKAGE.rglob("*.py") for name in named(_imports(path))}
    assert [top for top in tops - {"robustft"} if not sources._verified(top)] == []
