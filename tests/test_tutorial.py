"""The notebook of docs/ runs, with a few iterations in place of its hundreds."""

import re

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from tests.tools.toolbox import REPO

NOTEBOOK = REPO / 'docs/tutorial.ipynb'


def outputs(cell, kind):
    return [output for output in cell.get('outputs', []) if kind in output.get('data', {})]


def test_its_stored_outputs_are_of_a_whole_run():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert sum(bool(outputs(cell, 'image/png')) for cell in code) == 5
    assert [cell.execution_count for cell in code] == list(np.arange(len(code)) + 1)


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first = next(cell for cell in notebook.cells if 'iterations = 900' in cell.source)
    first.source = first.source.replace('iterations = 900', 'iterations = 12')
    first.source = re.sub(r'make_shapes_voc\(data\)', 'make_shapes_voc(data, num_train=12, num_val=4)', first.source)
    NotebookClient(notebook, timeout=600, resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    (masks,) = [cell for cell in notebook.cells if 'export_pseudo_labels(' in cell.source]
    assert '12 masks' in ''.join(output.get('text', '') for output in masks.outputs)
