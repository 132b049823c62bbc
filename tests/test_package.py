"""What the package promises as a whole: a light import, a public surface that cannot drift, documented names."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import unblur

SOURCE = Path(unblur.__file__).parent


def test_import_is_light_with_torch_installed():
    importlib.import_module("torch")  # the promise means nothing where torch is missing
    heavy = {"torch", "numpy", "scipy", "pyvips", "onnxruntime", "fastapi"}
    code = f"import sys, unblur; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_import_takes_under_half_a_second():
    code = "import time; t = time.perf_counter(); import unblur; print(time.perf_counter() - t)"
    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
    assert seconds < 0.5


def test_restore_loads_no_torch():
    code = "import sys, numpy as np, unblur; unblur.restore(np.zeros((8, 8), np.uint8)); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_all_names_resolve_and_nothing_else_is_promised():
    assert set(unblur._HOME) | {"__version__"} == set(unblur.__all__)
    for name in unblur.__all__:
        assert getattr(unblur, name) is not None
    assert set(unblur.__all__) == set(dir(unblur))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = unblur.nonsense
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    checked = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    } - {"annotations", "TYPE_CHECKING", "Any"}
    assert checked == set(unblur._HOME), "what type checkers see is what is resolved"


def public_things():
    for module in pkgutil.walk_packages([str(SOURCE)], "unblur."):
        if module.name.startswith("unblur.nets"):
            continue
        loaded = importlib.import_module(module.name)
        yield module.name, loaded
        for name, thing in vars(loaded).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.name:
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{module.name}.{name}", thing
            if inspect.isclass(thing):
                for member, value in vars(thing).items():
                    if not member.startswith("_") and (
                        inspect.isfunction(value) or isinstance(value, property)
                    ):
                        yield f"{module.name}.{name}.{member}", value


def test_every_public_name_is_documented():
    started = time.perf_counter()
    missing = [name for name, thing in public_things() if not (inspect.getdoc(thing) or "").strip()]
    assert missing == []
    assert time.perf_counter() - started < 60


def test_the_error_tree_in_the_docstring_is_the_real_one():
    from unblur import errors

    classes = {
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and thing.__module__ == errors.__name__
    }
    assert all(name in (errors.__doc__ or "") for name in classes)
    assert all(issubclass(getattr(errors, name), errors.UnblurError) for name in classes)
