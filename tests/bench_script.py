"""The scripts of bench/, whose simulations the tests run too."""

import importlib.util
from types import ModuleType

from launched import PROJECT


def bench_script(name: str) -> ModuleType:
    """bench/`name`.py as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", PROJECT / "bench" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
