from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from ptm.component import Config, members, union_of
from ptm.components.encoders import Encoder
from ptm.components.objectives import Objective
from ptm.components.optimizers import Optimizer
from ptm.components.schedules import Schedule
from ptm.text.segmenters import Segmenter
from ptm.text.tokenizers import TokenizerConfig

CONTRACT = """
from ptm.component import Config

class Shape(Config):
    type: str
"""
COMPONENT = """
from typing import Literal
from {package}.contract import Shape

class {name}(Shape):
    type: Literal["{type}"]
    size: int = 1
"""


def add_component(package: Path, name: str) -> None:
    text = COMPONENT.format(package=package.name, name=name.title(), type=name)
    (package / f"{name}.py").write_text(text)
    importlib.invalidate_caches()


@pytest.fixture
def package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """An importable package with two components."""
    folder = tmp_path / f"shapes_{abs(hash(request.node.name))}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "contract.py").write_text(CONTRACT)
    monkeypatch.syspath_prepend(str(tmp_path))
    add_component(folder, "circle")
    add_component(folder, "square")
    return folder


def base_of(package: Path) -> type[Config]:
    base: type[Config] = importlib.import_module(f"{package.name}.contract").Shape
    return base


def test_a_component_is_found_by_its_file(package: Path) -> None:
    assert list(members(package.name, base_of(package))) == ["circle", "square"]
    add_component(package, "triangle")
    assert list(members(package.name, base_of(package))) == ["circle", "square", "triangle"]


def test_a_component_that_another_module_imports_is_found_once(package: Path) -> None:
    (package / "other.py").write_text(f"from {package.name}.circle import Circle\n")
    importlib.invalidate_caches()
    assert list(members(package.name, base_of(package))) == ["circle", "square"]


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("@abstractmethod\n    def area(self) -> float: ...", "area"),
        ("sides: ClassVar[int]", "sides"),
    ],
    ids=["a method", "a class variable"],
)
def test_a_component_without_a_required_attribute_is_an_error(
    package: Path, line: str, lacking: str
) -> None:
    text = CONTRACT.replace("    type: str", f"    type: str\n    {line}")
    imports = "from __future__ import annotations\nfrom abc import abstractmethod\n"
    (package / "contract.py").write_text(f"{imports}from typing import ClassVar\n{text}")
    importlib.invalidate_caches()
    with pytest.raises(AssertionError, match=rf"Circle lacks \['{lacking}'\]"):
        members(package.name, base_of(package))


def test_the_type_selects_the_component(package: Path) -> None:
    adapter = TypeAdapter(union_of(package.name, base_of(package)))
    assert type(adapter.validate_python({"type": "square"})).__name__ == "Square"


def test_an_unknown_type_is_rejected_with_the_known_types(package: Path) -> None:
    adapter = TypeAdapter(union_of(package.name, base_of(package)))
    with pytest.raises(ValidationError, match="'circle', 'square'"):
        adapter.validate_python({"type": "cube"})


def test_a_single_component_is_selected_by_its_type_too(package: Path) -> None:
    (package / "square.py").unlink()
    sys.modules.pop(f"{package.name}.square", None)
    adapter = TypeAdapter(union_of(package.name, base_of(package)))
    assert type(adapter.validate_python({"type": "circle"})).__name__ == "Circle"
    with pytest.raises(ValidationError):
        adapter.validate_python({"type": "square"})


@pytest.mark.parametrize(
    ("package_name", "base"),
    [
        ("ptm.components.encoders", Encoder),
        ("ptm.components.objectives", Objective),
        ("ptm.components.optimizers", Optimizer),
        ("ptm.components.schedules", Schedule),
        ("ptm.text.tokenizers", TokenizerConfig),
        ("ptm.text.segmenters", Segmenter),
    ],
)
def test_each_component_of_the_project_has_its_own_file(
    package_name: str, base: type[Config]
) -> None:
    modules = [component.__module__ for component in members(package_name, base).values()]
    assert modules
    assert len(set(modules)) == len(modules)
    assert all(module.startswith(f"{package_name}.") for module in modules)


class Small(Config):
    layers: int = 1
    name: str = "a"


def test_an_unknown_key_of_a_config_is_rejected() -> None:
    with pytest.raises(ValidationError, match='unknown key "layer"'):
        Small.model_validate({"layer": 2})


@pytest.mark.parametrize("value", ["2", 2.0, True, None])
def test_a_config_rejects_values_of_another_type(value: object) -> None:
    with pytest.raises(ValidationError):
        Small.model_validate({"layers": value})


def test_a_config_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Small().layers = 2  # type: ignore[misc]
