"""What importing costs, what is packaged, what is documented."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib

import pytest

import bpe_bench

HEAVY = ("torch", "sklearn", "xgboost", "h5py", "matplotlib")


def loaded_by(code):
    """Return the modules that a fresh interpreter has loaded after running some code."""
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import bpe_bench",
        "from bpe_bench import Budget, Table, correlate, get_space, open_table, spearman",
    ],
)
def test_importing_loads_nothing_heavy(code):
    assert loaded_by(code).isdisjoint(HEAVY)


def test_importing_the_package_alone_loads_no_numbers_either():
    assert loaded_by("import bpe_bench").isdisjoint({"numpy", "scipy", "pandas", "click", "rich"})


def test_the_public_names_exist_and_are_listed():
    for name in bpe_bench.__all__:
        assert getattr(bpe_bench, name).__module__ != "builtins" or name.startswith("BPE")
        assert name in dir(bpe_bench)
    with pytest.raises(AttributeError, match=r"^module 'bpe_bench' has no attribute 'tabel'$"):
        bpe_bench.tabel  # noqa: B018


def test_every_folder_of_code_is_packaged(repository):
    setup = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    roots = setup["package-dir"]
    expected = set()
    for package, folder in roots.items():
        for file in (repository / folder).rglob("*.py"):
            parts = file.parent.relative_to(repository / folder).parts
            expected.add(".".join((package, *parts)))
    assert set(setup["packages"]) == expected


def layers(repository):
    """The layers of the import contract from the top, each a set of top-level names."""
    contracts = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layered,) = (c for c in contracts["contracts"] if c["type"] == "layers")
    return [
        {name.strip().removeprefix("bpe_bench.") for name in layer.split("|")}
        for layer in layered["layers"]
    ]


def test_the_floor_plan_stays_small(repository):
    found = {m.name: m.ispkg for m in pkgutil.iter_modules(bpe_bench.__path__)}
    assert sum(found.values()) <= 11
    assert len(found) - sum(found.values()) <= 8
    every = layers(repository)
    assert len(every) <= 12
    assert sorted(name for layer in every for name in layer) == sorted(found)


def test_contributing_has_the_layers_of_the_contract(repository):
    text = (repository / "CONTRIBUTING.md").read_text()
    lines = text.partition("<!-- layers -->\n```text\n")[2].partition("```")[0].splitlines()
    assert [set(line.split("  ")[0].split(" | ")) for line in lines] == layers(repository)


def test_names_with_an_underscore_stay_within_their_package(repository):
    """Packages are the folders and modules of bpe_bench, the commands and the builders."""
    strays = []
    for folder in ("bpe_bench", "cli", "tables"):
        for file in (repository / folder).rglob("*.py"):
            own = file.relative_to(repository).with_suffix("").parts
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.ImportFrom):
                    continue
                base = own[: -node.level] if node.level else ()
                source = (*base, *(node.module or "").split("."))
                private = [a.name for a in node.names if a.name.startswith("_")]
                if source[:2] != own[:2] and source[0] != "__future__":
                    strays += [f"{'.'.join(own)} imports {name}" for name in private]
    assert strays == []


def modules():
    found = pkgutil.walk_packages(bpe_bench.__path__, "bpe_bench.")
    return ["bpe_bench", *(m.name for m in found)]


@pytest.mark.parametrize("name", modules())
def test_every_name_that_a_module_lists_exists(name):
    module = importlib.import_module(name)
    assert [n for n in getattr(module, "__all__", ()) if not hasattr(module, n)] == []


@pytest.mark.parametrize("name", modules())
def test_everything_public_is_documented(name):
    module = importlib.import_module(name)
    tree = ast.parse(inspect.getsource(module))
    bare = [] if module.__doc__ else [name]

    def visit(body, prefix):
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                bare.append(f"{prefix}{node.name}")
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    if not name.rpartition(".")[2].startswith("_"):
        visit(tree.body, f"{name}.")
    assert bare == []
