"""`model-index.yml` and its metafiles: OpenMMLab's format, existing configs, and who measured each figure."""

import re

import pytest
import yaml
from mmengine.config import Config

from tests.wheels import REPO

INDEX = yaml.safe_load((REPO / 'model-index.yml').read_text(encoding='utf-8'))
FILES = [yaml.safe_load((REPO / name).read_text(encoding='utf-8')) for name in INDEX['Import']]
MODELS = [model for file in FILES for model in file['Models']]


def test_models_are_found_once():
    names = [model['Name'] for model in MODELS]
    assert len(names) >= 10
    assert len(set(names)) == len(names)
    stems = [path.stem for path in (REPO / 'configs').glob('[!_]*/*.py')]
    assert len(set(stems)) == len(stems)  # mim and `afa` find a config by its file name


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_a_model_has_its_config_and_names_who_measured(model):
    path = REPO / model['Config']
    config = Config.fromfile(path)
    assert path.stem == model['Name']
    assert config.train_cfg.max_iters == model['Metadata']['Iterations']
    assert model['In Collection'] in {collection['Name'] for file in FILES for collection in file['Collections']}
    for result in model['Results']:
        assert result['Task'] == 'Semantic Segmentation'
        assert result['Dataset'].split()[0] in model['Metadata']['Training Data']
        for metric, value in result['Metrics'].items():
            assert re.fullmatch(r'mIoU.* \((paper|published|published log|here)\)', metric)
            assert 0 < value < 100
    assert 'Weights' not in model  # none are published


def ours(name):
    """The figures of a model that were measured here."""
    metrics = next(model for model in MODELS if model['Name'] == name)['Results'][0]['Metrics']
    return [value for metric, value in metrics.items() if metric.endswith('(here)')]


def test_our_figures_are_those_of_the_readme():
    lines = (REPO / 'README.md').read_text(encoding='utf-8').splitlines()
    rows = [line for line in lines if line.startswith(('| image-level labels', '| full masks'))]
    lite2, mit_b0, shapes, shapes_full = ([float(x) for x in re.findall(r'\b\d\d\.\d\b', row)] for row in rows)
    assert ours('afa_mit-tiny_shapes') == shapes
    assert ours('segformer_mit-tiny_shapes') == shapes_full
    assert ours('afa_efficientnet-lite2_voc-animals') == lite2[1:3]
    assert ours('afa_mit-b0_voc-animals') == mit_b0[1:3]
