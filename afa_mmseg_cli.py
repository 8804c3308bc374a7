"""The command `afa`: all tools under one name. Importing this imports the standard library only."""

import argparse
import difflib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Optional
from unittest import mock

#: Words of a command: (script in `tools/`, what it does). Those without a script are functions of this module.
COMMANDS = {
    'train': ('train.py', 'train from image-level labels'),
    'test': ('test.py', 'evaluate a checkpoint'),
    'infer': ('infer.py', 'segment images; show CAMs and pseudo-labels'),
    'video': ('infer_video.py', 'segment a video, a folder of frames or a camera'),
    'demo': ('web_demo.py', 'serve a page for images and clicks'),
    'export': ('export_onnx.py', 'export to ONNX'),
    'pseudo-labels': ('export_pseudo_labels.py', 'write the pseudo-labels of a training set'),
    'export-labels': ('export_labels.py', 'convert masks to COCO JSON, or to pre-annotations of Label Studio'),
    'check': ('dataset_converters/check_dataset.py', 'check images, labels, lists and masks before a run'),
    'prepare voc': ('dataset_converters/prepare_voc.py', 'complete a folder of PASCAL VOC 2012'),
    'prepare coco': ('dataset_converters/prepare_coco.py', 'make masks, labels and lists of COCO 2014'),
    'prepare voc-animals': ('dataset_converters/make_voc_animals.py', 'make VOC-Animals from VOC 2012'),
    'prepare shapes': ('dataset_converters/make_shapes_voc.py', 'generate ShapesVOC'),
    'convert labels': ('dataset_converters/convert_labels.py', 'convert label files of other projects to JSON'),
    'convert mit': ('model_converters/convert_mit.py', 'convert weights of a Mix Transformer, or of AFA'),
    'convert vit': ('model_converters/convert_vit.py', 'convert weights of a Vision Transformer, or of ToCo'),
    'convert efficientnet-lite': (
        'model_converters/convert_efficientnet_lite.py',
        'convert weights of an EfficientNet-Lite to the names of timm',
    ),
    'weights': ('model_converters/download_weights.py', 'download pretrained weights and convert them'),
    'distill': ('model_converters/distill_backbone.py', 'distil a classifier into a Mix Transformer'),
    'plot': ('analysis_tools/plot_training.py', 'plot losses and validation of runs'),
    'errors': ('analysis_tools/error_profile.py', 'find where a segmentor loses points'),
    'publish': ('publish_model.py', 'publish a checkpoint of a run'),
    'config list': (None, 'list the configs of the package'),
    'config show': (None, 'print a config with all that it inherits'),
    'config copy': (None, 'copy a config, to change it'),
    'completion': (None, 'print the completion of a shell: eval "$(afa completion bash)"'),
}
USAGE = 'afa [--verbose] COMMAND [options]'
EPILOG = (
    'A config is a file, or the name of one that `afa config list` lists. `afa COMMAND --help` lists the options of a '
    'command. --verbose, with any command, shows what is hidden otherwise: warnings of libraries, and the records that '
    'only the log file of a run has.'
)


def main(argv: Optional[list[str]] = None) -> Any:
    """Run a command; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    while '--verbose' in words:
        words.remove('--verbose')
        os.environ['AFA_VERBOSE'] = '1'
    if not words or words[0] in ('-h', '--help'):
        print(overview())
        return 0
    for length in (2, 1):
        name = ' '.join(words[:length])
        if name in COMMANDS:
            return run(name, words[length:])
    return unknown(words)


def run(name: str, arguments: list[str]) -> Any:
    """Run one command of the table."""
    script = COMMANDS[name][0]
    if script is None:
        parser = build_own_parser(name)
        args = vars(parser.parse_args(arguments))
        try:
            OWN[name](**args)
        except (OSError, ImportError) as error:
            parser.exit(1, f'{parser.prog}: error: {error}\n')
        return 0
    sys.argv = [f'afa {name}', *arguments]  # also the name in the messages of the tool
    load(package_files().tool_folder() / script, '__main__')
    return 0


def overview() -> str:
    """Return the help of `afa`: all commands, a line each."""
    lines = [f'usage: {USAGE}', '', 'Semantic segmentation from image-level labels, for MMSegmentation.', '']
    lines += [f'  {name:<26}{text}' for name, (_, text) in COMMANDS.items()]
    return '\n'.join([*lines, '', EPILOG])


def unknown(words: list[str]) -> int:
    """Print what could have been meant; return the exit code of a wrong command line."""
    seconds = ', '.join(name.split()[1] for name in COMMANDS if name.startswith(f'{words[0]} '))
    close = difflib.get_close_matches(words[0], {name.split()[0] for name in COMMANDS}, n=1)
    if seconds:
        fault = f'{words[0]} must be followed by one of {seconds}'
    else:
        fault = f'unknown command {words[0]!r}' + (f'; did you mean {close[0]}?' if close else '; see afa --help')
    print(f'afa: error: {fault}', file=sys.stderr)
    return 2


def package_files() -> ModuleType:
    """Load `afa_mmseg/utils/package_files.py` without the package, which takes seconds to import."""
    spec = importlib.util.find_spec('afa_mmseg')
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError('afa_mmseg is not installed: pip install "afa-mmseg[onedl]"')
    return load(Path(spec.submodule_search_locations[0], 'utils/package_files.py'))


def load(path: Path, name: str = '') -> ModuleType:
    """Import a file by its path; with the name `__main__`, run it as Python runs a script."""
    spec = importlib.util.spec_from_file_location(name or f'_afa_{path.stem}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if name:
        module.__spec__ = None
        sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# Commands without a script


def list_configs() -> None:
    """Print each config with its first comment."""
    configs = package_files().shipped_configs()
    width = max(map(len, configs)) + 2
    for name, path in configs.items():
        comment = re.search(r'^# (.*)', path.read_text(encoding='utf-8'), re.MULTILINE)
        print(f'{name:<{width}}{comment[1] if comment else ""}'.rstrip())


def show_config(name: str) -> None:
    """Print the resolved config."""
    from mmengine.config import Config

    print(Config.fromfile(package_files().find_config(name), import_custom_modules=False).pretty_text)


def copy_config(name: str, to: str) -> None:
    """Copy a config; what it inherits from stays where it is, named by an absolute path.

    Raises:
        FileExistsError: The file exists.
    """
    source = package_files().find_config(name)
    out = Path(to, source.name) if Path(to).is_dir() else Path(to)
    text = source.read_text(encoding='utf-8')
    text = re.sub(r"'(\.\.?/[^'\n]+\.py)'", lambda match: repr((source.parent / match[1]).resolve().as_posix()), text)
    with out.open('x', encoding='utf-8') as file:
        file.write(text)
    print(f'{out} written')


def print_completion(shell: str) -> None:
    """Print a completion script of all commands and options.

    Raises:
        ModuleNotFoundError: shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('shtab not installed: pip install "afa-mmseg[completion]"') from error
    print(shtab.complete(build_parser(), shell))


OWN: dict[str, Callable[..., None]] = {
    'config list': list_configs,
    'config show': show_config,
    'config copy': copy_config,
    'completion': print_completion,
}


def build_own_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command without a script."""
    parser = argparse.ArgumentParser(prog=f'afa {name}', description=COMMANDS[name][1])
    if name in ('config show', 'config copy'):
        parser.add_argument('name', metavar='NAME', help='name of a config, or a file')
    if name == 'config copy':
        parser.add_argument('to', metavar='TO', nargs='?', default='.', help='file or folder (default: here)')
    if name == 'completion':
        parser.add_argument('shell', choices=('bash', 'zsh', 'tcsh'))
    return parser


# Completion


def build_parser() -> argparse.ArgumentParser:
    """Return a parser of all commands, from those of the tools, which are imported for it."""
    parser = argparse.ArgumentParser(prog='afa', usage=USAGE, epilog=EPILOG)
    parser.add_argument('--verbose', action='store_true')
    groups: dict[str, Any] = {'': parser.add_subparsers()}
    for name, (script, text) in COMMANDS.items():
        first, _, second = name.rpartition(' ')
        if first not in groups:
            groups[first] = groups[''].add_parser(first, help=f'{first} ...').add_subparsers()
        options = build_own_parser(name) if script is None else parser_of(script)
        groups[first].add_parser(second, parents=[options], add_help=False, help=text.replace('%', '%%'))
    return parser


class Captured(Exception):
    """Carries the parser of a tool out of its `parse_args`."""


def parser_of(script: str) -> argparse.ArgumentParser:
    """Return the parser that a tool builds, without parsing anything."""

    def capture(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise Captured(parser)

    with mock.patch.object(argparse.ArgumentParser, 'parse_args', capture):
        try:
            load(package_files().tool_folder() / script).parse_args()
        except Captured as captured:
            return captured.args[0]
    raise AssertionError(f'{script}: parse_args() parses nothing')


if __name__ == '__main__':
    sys.exit(main())
