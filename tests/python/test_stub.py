"""The stub says what the compiled module holds: the same names, the same arguments in order."""

import ast
import inspect
import re
from pathlib import Path

import r1core
from r1core import _C

STUB = Path(r1core.__file__).with_name("_C.pyi")


def stub_functions(body):
    return {
        node.name: [argument.arg for argument in node.args.args + node.args.kwonlyargs]
        for node in body
        if isinstance(node, ast.FunctionDef)
    }


def bound_arguments(function):
    """Read the argument names out of the signature that pybind11 writes into a docstring."""
    signature = function.__doc__.splitlines()[0]
    return re.findall(r"[(,]\s*(\w+):", signature)


def bound_functions(owner):
    return {
        name: bound_arguments(member)
        for name, member in inspect.getmembers(owner)
        if callable(member)
        and not inspect.isclass(member)
        and (not name.startswith("_") or name == "__init__")
        and "(" in (member.__doc__ or "").splitlines()[0]
    }


def test_the_stub_has_every_function_with_its_arguments():
    assert stub_functions(ast.parse(STUB.read_text()).body) == bound_functions(_C)


def test_the_stub_has_every_class_with_its_methods():
    classes = {
        node.name: stub_functions(node.body)
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    bound = {name: cls for name, cls in inspect.getmembers(_C, inspect.isclass)}
    assert set(classes) == set(bound)
    for name, cls in bound.items():
        methods = bound_functions(cls)
        if "__init__" not in classes[name]:
            methods.pop("__init__", None)
        assert classes[name] == methods


def test_the_stub_has_every_constant():
    annotated = {
        node.target.id
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.AnnAssign)
    }
    constants = {
        name for name, value in vars(_C).items() if isinstance(value, str) and name[0] != "_"
    }
    assert annotated == constants
