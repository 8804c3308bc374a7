"""Configs as JSON: data that is read, and checked, without executing anything."""

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Union

from mmengine.config import Config
from mmengine.registry import Registry

#: Name of a published config.
CONFIG_FILE = 'config.json'
#: JSON has no tuples, and mmseg and mmcv tell them from lists: `{"__tuple__": [512, 512]}`.
TUPLE = '__tuple__'
#: Sections of a run, which write files where they say; a published config is for prediction, testing and export.
LOCAL_KEYS = (
    'work_dir', 'load_from', 'resume', 'launcher', 'visualizer', 'vis_backends', 'default_hooks', 'custom_hooks',
)  # fmt: skip
#: Keys that have mmengine or a library import or execute what they name, or write where they name.
EXECUTING = (
    '_base_', 'custom_imports', '_scope_', 'trust_remote_code', 'target', 'output_dir', 'outfile_prefix', 'collect_dir',
)  # fmt: skip
#: Metrics that a published config may name; others of mmengine and mmpretrain write files where they are told.
METRICS = (
    'IoUMetric', 'PaletteIoUMetric', 'CAMIoUMetric', 'ImageF1Metric', 'mmpretrain.MultiLabelMetric',
    'mmpretrain.AveragePrecision',
)  # fmt: skip
#: Files that mmengine reads by executing what they hold, wherever a config names them.
UNSAFE_FILES = ('.pkl', '.pickle', '.yaml', '.yml')
#: Keys whose values are names of registered types; mmengine imports any other name as a module.
TYPE_KEYS = ('type', 'constructor', 'runner_type', 'collate_fn', 'worker_init_fn')
#: Packages whose registries are searched.
PACKAGES = ('mmengine', 'mmseg', 'mmpretrain')


def encode_config(config: Mapping) -> str:
    """Return the JSON of a config.

    Raises:
        ValueError: It holds more than plain values.
    """
    return json.dumps(_encode(config, 'config'), indent=1) + '\n'


def read_json_config(path: Union[str, Path]) -> Config:
    """Read a config from JSON as data: nothing is imported or executed, and all types it names are registered ones.

    `LOCAL_KEYS` are left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON, names something to execute, or a type that is not registered.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'config not found: {path}')
    try:
        return Config(parse_json_config(Path(path).read_text(encoding='utf-8')), filename=str(path))
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f'{path}: {error}') from error


def parse_json_config(text: str) -> dict[str, Any]:
    """Return the sections of a config in JSON; see `read_json_config`."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError('the file holds no dict')
    if values.get('default_scope', 'mmseg') != 'mmseg':
        raise ValueError(f"default_scope={values['default_scope']!r} must be 'mmseg'")
    kept = {key: value for key, value in _checked(values, '').items() if key not in LOCAL_KEYS}
    return {key: _decode(value, key) for key, value in kept.items()}


def parse_config_text(text: str) -> dict[str, Any]:
    """Read the config in a checkpoint, assignments of literals and of `dict(...)`, without executing it.

    Raises:
        ValueError: The text holds something else.
    """
    try:
        statements = ast.parse(text).body
        return {statement.targets[0].id: _literal(statement.value) for statement in statements}  # type: ignore[attr-defined]
    except (SyntaxError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f'the config in its `meta` is no text that mmengine writes: {error}') from error


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict' and len(node.args) <= 1:
        positional = _literal(node.args[0]) if node.args else {}  # keys that are no names
        return {**positional, **{keyword.arg: _literal(keyword.value) for keyword in node.keywords}}
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(key): _literal(value) for key, value in zip(node.keys, node.values)}  # type: ignore[arg-type]
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_literal(item) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    return ast.literal_eval(node)


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _encode(item, f'{where}.{key}') for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f'{where}.{i}') for i, item in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ValueError(f'{where} is a {type(value).__name__}: a published config holds plain values')


def _decode(value: Any, where: str) -> Any:
    if isinstance(value, str) and '{{' in value:
        raise ValueError(f'{where}={value!r} is refused: `{{{{...}}}}` is a reference to something outside the file')
    is_file_format = not where.rpartition('.')[2].isdigit()  # names of classes are items of a list
    if isinstance(value, str) and (value.lower().endswith(UNSAFE_FILES) or (value == 'pickle' and is_file_format)):
        raise ValueError(f'{where}={value!r} is refused: reading such a file may execute what it holds')
    if isinstance(value, list):
        return [_decode(item, f'{where}.{i}') for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TUPLE} and isinstance(value[TUPLE], list):
        return tuple(_decode(value[TUPLE], where))
    return {key: _decode(item, f'{where}.{key}') for key, item in _checked(value, f'{where}.').items()}


def _checked(node: dict, where: str) -> dict:
    """Return a dict of the file whose keys execute nothing and whose types are registered."""
    for key, value in node.items():
        if not key.isprintable() or any(mark in key for mark in '\'"\\'):  # mmengine writes keys as Python code
            raise ValueError(f'{where}{key!r} is refused: keys are names without quotation marks')
        if key in EXECUTING:
            raise ValueError(f'{where}{key} is refused: it names something to execute, and a published config is data')
        if key in TYPE_KEYS and isinstance(value, str) and not _is_registered(value):
            raise ValueError(
                f'{where}{key}={value!r} is no registered type; if you trust the module that has it, import it first'
            )
        if key in TYPE_KEYS and isinstance(value, str) and value not in METRICS and _is_registered(value, 'metric'):
            raise ValueError(
                f'{where}{key}={value!r} is refused: metrics of a published config are {", ".join(METRICS)}'
            )
    return node


def _is_registered(name: str, kind_of_registry: str = '') -> bool:
    scope, _, kind = name.rpartition('.')
    packages = [scope] if scope else ['mmengine', 'mmseg']
    return (
        '/' not in kind  # torchvision's transforms in mmpretrain, which evaluate their arguments
        and all(package in PACKAGES for package in packages)
        and any(
            _holds(registry, kind)
            for package in packages
            for registry in _registries(package)
            if registry.name == kind_of_registry or not kind_of_registry
        )
    )


def _holds(registry: Registry, kind: str) -> bool:
    if kind not in registry.module_dict:
        with suppress(Exception):  # of a part of the package whose own dependencies are missing or too new
            registry.import_from_location()
    return kind in registry.module_dict


@cache
def _registries(package: str) -> list[Registry]:
    """List the registries of a package that is installed, transforms first."""
    if find_spec(package) is None:
        return []
    found = [value for value in vars(import_module(f'{package}.registry')).values() if isinstance(value, Registry)]
    return sorted(found, key=lambda registry: registry.name != 'transform')
