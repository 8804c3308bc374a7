"""The command `afa`: its table of tools, configs by name, completion, and what is hidden unless --verbose."""

import subprocess
import sys

import pytest
from mmengine.config import Config

import afa_mmseg_cli
from afa_mmseg.engine import load_config
from afa_mmseg.utils import package_files
from tests.tools.toolbox import REPO, tool_environment

#: Tools for developers, without a command.
WITHOUT_COMMAND = {'quickstart_report.py', 'knn_accuracy.py', '_torchrun.py'}


def run(*words):
    """Run a command in this process; return its exit code."""
    try:
        return afa_mmseg_cli.main(list(words)) or 0
    except SystemExit as end:
        return end.code or 0


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    monkeypatch.setattr('sys.argv', ['afa'])
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    monkeypatch.delenv('AFA_VERBOSE', raising=False)


def test_help_lists_all_commands_and_imports_nothing_heavy():
    code = 'import sys, afa_mmseg_cli; afa_mmseg_cli.main(["--help"]); print({"torch", "afa_mmseg"} & {*sys.modules})'
    process = subprocess.run([sys.executable, '-c', code], env=tool_environment(), capture_output=True, text=True)
    assert process.stdout.splitlines()[-1] == 'set()'
    for name, (_, text) in afa_mmseg_cli.COMMANDS.items():
        assert f'  {name} ' in process.stdout
        assert text in process.stdout


def test_every_tool_has_a_command():
    scripts = {script for script, _ in afa_mmseg_cli.COMMANDS.values() if script}
    tools = {path.relative_to(REPO / 'tools').as_posix() for path in (REPO / 'tools').rglob('*.py')}
    assert {name.rpartition('/')[2] for name in tools - scripts} == WITHOUT_COMMAND
    assert scripts <= tools


@pytest.mark.parametrize(
    ('words', 'named'),
    [(['trian'], 'train'), (['prepare'], 'voc-animals'), (['convert', 'nothing'], 'vit'), (['xyz'], '--help')],
)
def test_an_unknown_command_names_known_ones(words, named, capsys):
    assert run(*words) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize('words', [['train'], ['prepare', 'shapes'], ['weights'], ['config', 'copy']])
def test_a_tool_is_named_as_it_was_started(words, capsys):
    assert run(*words, '--help') == 0
    assert f'usage: afa {" ".join(words)} [' in capsys.readouterr().out


def test_errors_of_a_tool_end_with_its_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run('plot', 'nowhere') == 1
    assert 'afa plot: error: ' in capsys.readouterr().err


# Configs


def test_configs_are_listed_with_their_first_line(capsys):
    run('config', 'list')
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (REPO / 'configs').glob('[!_]*/*.py'))
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize('name', ['afa_mit-b1_custom', 'toco_vit-b_voc'])
def test_a_copied_config_is_the_same_elsewhere(name, tmp_path, capsys):
    assert run('config', 'copy', name, str(tmp_path)) == 0
    copied = Config.fromfile(tmp_path / f'{name}.py')
    assert copied.to_dict() == load_config(name).to_dict()
    assert run('config', 'copy', name, str(tmp_path)) == 1  # it exists
    capsys.readouterr()
    run('config', 'show', name)
    assert Config.fromstring(capsys.readouterr().out, '.py').model == copied.model


@pytest.mark.parametrize('name', ['afa_mit-b1_voc', 'afa_mit-b1_voc.py', 'configs/afa/afa_mit-b1_voc.py'])
def test_a_config_is_found_by_name_and_by_path(name, monkeypatch):
    monkeypatch.chdir(REPO)
    assert package_files.find_config(name).resolve() == REPO / 'configs/afa/afa_mit-b1_voc.py'


def test_a_name_that_is_no_config_is_refused_with_a_close_one():
    with pytest.raises(FileNotFoundError, match=r'afa_mit-b1_vok.*afa_mit-b1_voc'):
        load_config('afa_mit-b1_vok')


# Completion


def test_completion_knows_commands_and_options(capsys):
    pytest.importorskip('shtab')
    assert run('completion', 'bash') == 0
    script = capsys.readouterr().out
    for word in ('pseudo-labels', 'voc-animals', '--work-dir', '--max-visitors', '--splits'):
        assert word in script
    assert subprocess.run(['bash', '-n'], input=script, text=True).returncode == 0


def test_missing_shtab_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert run('completion', 'bash') == 1
    assert 'afa-mmseg[completion]' in capsys.readouterr().err


# What is hidden

NOISY = """
import warnings
from afa_mmseg._stack_check import quiet_imports
from afa_mmseg.utils import run_command
with quiet_imports():  # not every installation of mmcv and mmseg has a reason to print these
    print('Could not import OneDL modules')
    warnings.warn('Fail to import ``MultiScaleDeformableAttention`` from mmcv')
def main():
    warnings.warn("<class 'Visualizer'> instance named of visualizer has been created, the method")
    warnings.warn('of the user')
run_command(main)
"""


@pytest.mark.parametrize('options', [[], ['--verbose']])
def test_known_warnings_and_messages_are_shown_on_request_only(options, tmp_path):
    (tmp_path / 'tool.py').write_text(NOISY)
    process = subprocess.run(
        [sys.executable, 'tool.py', *options], cwd=tmp_path, env=tool_environment(), capture_output=True, text=True
    )
    shown = process.stdout + process.stderr
    assert process.returncode == 0
    assert 'of the user' in shown
    for message in ('Could not import OneDL', 'MultiScaleDeformableAttention', 'instance named of'):
        assert (message in shown) == bool(options)
