"""Workflows, issue templates and the Dockerfile: YAML that parses, and commands and files that exist."""

import re

import pytest
import yaml

from tests.wheels import REPO

FILES = sorted((REPO / '.github').rglob('*.yml'))
WORKFLOW = yaml.safe_load((REPO / '.github/workflows/ci.yml').read_text(encoding='utf-8'))
#: Programs of the workflow, and where they come from: a step before, or an extra of setup.py.
PROGRAMS = {'pip', 'python', 'ruff', 'codespell', 'mypy', 'mkdocs', 'twine'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_yaml_parses(path):
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    assert content['name']
    assert all(part['id'] and part['attributes']['label'] for part in content.get('body', ()))


def test_files_are_found():
    assert {path.name for path in FILES} == {'ci.yml', 'bug.yml', 'figures.yml', 'feature.yml'}


@pytest.mark.parametrize('job', WORKFLOW['jobs'])
def test_steps_run_what_is_there(job):
    setup = (REPO / 'setup.py').read_text(encoding='utf-8')
    for step in WORKFLOW['jobs'][job]['steps']:
        command = step.get('run', 'pip')
        assert command.split()[0] in PROGRAMS
        for extra in re.findall(r'\.\[([\w,]+)\]', command):
            assert all(f"'{name}'" in setup for name in extra.split(','))
        if job == 'docs':
            assert all(f"'{requirement}'" in setup for requirement in re.findall(r'"([^"]+)"', command))
    assert WORKFLOW['jobs']['tests']['strategy']['matrix']['python'] == ['3.10', '3.11', '3.12', '3.13']


def test_the_image_has_extras_and_files_that_exist():
    text = (REPO / 'Dockerfile').read_text(encoding='utf-8')
    extras = re.search(r'ARG EXTRAS=([\w,]+)', text)[1].split(',')
    setup = (REPO / 'setup.py').read_text(encoding='utf-8')
    assert all(f"'{extra}'" in setup for extra in extras)
    ignored = (REPO / '.dockerignore').read_text(encoding='utf-8').split()
    assert not {'afa_mmseg', 'configs', 'tools', 'README.md', 'setup.py', 'model-index.yml'} & {*ignored}
