"""The notebook of docs/: its stored outputs are of a whole run, and a short one runs in an empty folder."""

import re

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.tools.toolbox import REPO

NOTEBOOK = REPO / 'docs/tutorial.ipynb'
#: A path on somebody's machine: not part of a relative one, nor of a URL.
ABSOLUTE = re.compile(r'(?<![\w.:/])(?:/(?:work|root|home|tmp|usr|opt|mnt|Users)/|[A-Z]:\\)')


def read():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def outputs(notebook):
    return [output for cell in cells(notebook, 'code') for output in cell.outputs]


def printed(notebook):
    return ''.join(output.get('text', '') for output in outputs(notebook))


def images(notebook):
    data = [output.get('data', {}) for output in outputs(notebook)]
    return [kind for kinds in data for kind in kinds if kind.startswith('image/')]


def has_run(notebook):
    code = cells(notebook, 'code')
    return [cell.execution_count for cell in code] == list(np.arange(len(code)) + 1)


def miou_of(notebook):
    (value,) = re.findall(r'^mIoU of the segmentation: ([\d.]+)$', printed(notebook), re.MULTILINE)
    return float(value)


def shorten(notebook, **settings):
    """Assign other values in the cell tagged `parameters`."""
    (cell,) = [cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', [])]
    names = re.findall(r'\w+(?=.* = )', cell.source)
    assert settings.keys() == set(names)
    cell.source = '\n'.join(f'{name} = {value}' for name, value in settings.items())


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('saved to /home/me/x', True),
        ("'/tmp/a'", True),
        (r'C:\Users', True),
        ('work_dirs/tmp/a', False),
        ('https://x.org/work/a', False),
        ('data/root/a', False),
    ],
)
def test_absolute_paths_are_recognised(text, found):
    assert bool(ABSOLUTE.search(text)) is found


class TestStoredNotebook:
    """What a reader sees without running it."""

    def test_it_is_of_a_whole_run(self):
        notebook = read()
        assert has_run(notebook)
        assert images(notebook) == ['image/jpeg', 'image/png', *['image/jpeg'] * 3]
        assert '[900/900]' in printed(notebook)
        assert NOTEBOOK.stat().st_size < 400_000

    def test_it_holds_no_error_no_warning_and_no_path_of_a_machine(self):
        notebook = read()
        kinds = {(output.output_type, output.get('name')) for output in outputs(notebook)}
        assert kinds <= {('stream', 'stdout'), ('display_data', None), ('execute_result', None)}
        assert 'warning' not in printed(notebook).lower()
        for output in outputs(notebook):
            for kind in [kind for kind in output.get('data', {}) if kind.startswith('image/')]:
                del output.data[kind]
        assert ABSOLUTE.search(nbformat.writes(notebook)) is None

    def test_its_text_has_the_numbers_of_its_outputs(self):
        notebook = read()
        text = '\n'.join(cell.source for cell in cells(notebook, 'markdown'))
        quoted = set(re.findall(r'\d+\.\d+', text))
        assert str(miou_of(notebook)) in quoted
        logged = set(re.findall(r'\d+\.\d+', printed(notebook)))
        assert quoted - logged - {str(round(float(number), 1)) for number in logged} == set()

    def test_its_links_lead_to_pages(self):
        text = '\n'.join(cell.source for cell in cells(read(), 'markdown'))
        links = re.findall(r'\]\(([^)\s]+)\)', text)
        assert 'custom_dataset.md' in links
        pages = {link.partition('#')[0] for link in links}
        assert [page for page in pages if not (NOTEBOOK.parent / page).is_file()] == []


@pytest.mark.slow
def test_it_runs_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    notebook, stored = read(), read()
    shorten(notebook, iterations=18, num_train=8, num_val=7)
    NotebookClient(notebook, timeout=600, resources=dict(metadata=dict(path=str(tmp_path)))).execute()

    assert has_run(notebook)
    assert images(notebook) == images(stored)
    assert 0 <= miou_of(notebook) <= 100
    work_dir = tmp_path / 'work_dirs/tutorial'
    assert (work_dir / 'iter_18.pth').is_file()
    assert Image.open(work_dir / 'curves.png').width > 1000
    label = np.asarray(Image.open(work_dir / 'mine.png'))
    assert label.shape == (128, 128)
    assert label.max() < 7
    assert {path.name for path in tmp_path.iterdir()} == {'data', 'work_dirs'}
