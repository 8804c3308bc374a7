"""Published models: what is written, that it loads to the same network, and that a stranger's runs no code."""

import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from afa_mmseg.apis import WeakSegInferencer, init_model, publish
from afa_mmseg.apis.publishing import upload
from afa_mmseg.engine import load_config
from afa_mmseg.engine.options import refuse_published
from afa_mmseg.utils.json_config import LOCAL_KEYS, TUPLE, _is_registered, parse_config_text, read_json_config
from afa_mmseg.utils.package_files import config_folder
from tests.apis.hub_server import hub_server
from tests.models.checkpoints.states import assert_same
from tests.test_security import Attack
from tests.tiny_files import CLASSES, PALETTE, make_image, write_tiny_files

huggingface_hub = pytest.importorskip('huggingface_hub')
pytest.importorskip('safetensors')

QUIET = dict(device='cpu', show_progress=False)
FILES = ['README.md', 'config.json', 'model.safetensors']


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(scope='module')
def inferencer(files):
    return WeakSegInferencer(*files, **QUIET)


@pytest.fixture
def folder(inferencer, tmp_path):
    inferencer.save_pretrained(tmp_path / 'animals', license='apache-2.0', figures=dict(mIoU=62.6))
    return tmp_path / 'animals'


def edit(folder, change):
    """Change the values of `config.json`."""
    values = json.loads((folder / 'config.json').read_text())
    change(values)
    (folder / 'config.json').write_text(json.dumps(values))


def test_a_saved_model_is_loaded_to_the_same_network(files, inferencer, folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    loaded = WeakSegInferencer.from_pretrained(folder, **QUIET)
    assert_same(loaded.model.state_dict(), inferencer.model.state_dict())
    assert (loaded.class_names, loaded.palette) == (CLASSES[1:], PALETTE)
    image = make_image()
    expected, result = inferencer(image), loaded(image)
    assert all(np.array_equal(result[field], expected[field]) for field in ('predictions', 'pred_cam'))
    config = Config.fromfile(files[0]).to_dict()
    for key in ('custom_imports', *LOCAL_KEYS):  # run code, or write files
        config.pop(key, None)
    assert {key: read_json_config(folder / 'config.json').to_dict()[key] for key in config} == config  # tuples, too


def test_the_card_has_licence_classes_figures_and_the_way_to_load(folder):
    card = huggingface_hub.ModelCard.load(folder / 'README.md')
    assert (card.data.license, card.data.library_name) == ('apache-2.0', 'afa_mmseg')
    for part in (', '.join(CLASSES), '| mIoU | 62.6 |', "from_pretrained('animals')"):
        assert part in card.text


def trained(path, files, **others):
    """Write a checkpoint as training does."""
    content = torch.load(files[1], weights_only=True)
    content['meta'].update({'cfg': Config.fromfile(files[0]).pretty_text, **others.pop('meta', {})})
    torch.save({**content, **others}, path)
    return content['state_dict']


def test_a_training_checkpoint_is_published_without_what_training_needs(files, tmp_path):
    state = trained(tmp_path / 'iter_6.pth', files, optimizer=dict(state={}), ema_state_dict=dict(x=torch.zeros(1)))
    left_out = publish(tmp_path / 'iter_6.pth', tmp_path / 'out', license='other')
    assert left_out == ['optimizer', 'ema_state_dict', 'custom_imports', 'visualizer']
    model = init_model(tmp_path / 'out/config.json', tmp_path / 'out')
    assert_same(dict(model.state_dict()), state)
    assert model.dataset_meta['classes'] == CLASSES


@pytest.mark.parametrize(
    ('meta', 'words'),
    [
        (dict(cfg=None), 'not a checkpoint of a training run'),
        (dict(cfg='model = dict(type=open("sprung", "w"))'), 'no text that mmengine writes'),
        (dict(cfg='import os'), 'no text that mmengine writes'),
        (dict(cfg='model = {1: 2}'), 'config.model is a dict'),
    ],
)
def test_other_checkpoints_are_refused(files, tmp_path, monkeypatch, meta, words):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / 'a.pth', files, meta=meta)
    with pytest.raises(ValueError, match=f'a.pth: .*{words}'):
        publish(tmp_path / 'a.pth', tmp_path / 'out', license='other')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.pth']


@pytest.mark.parametrize('name', ['afa/afa_efficientnet-lite2_voc-animals', 'toco/toco_deit-b_voc'])
def test_config_texts_of_mmengine_are_read(name):
    config = Config.fromfile(config_folder() / f'{name}.py')
    assert parse_config_text(config.pretty_text) == config.to_dict()


def test_config_texts_are_read_as_python_reads_them(files):
    config = Config.fromfile(files[0])
    assert parse_config_text(config.pretty_text) == config.to_dict()
    assert (
        parse_config_text('a = dict(b=(1, -2.5), c=[None, True], d={"e": "f"})')
        == Config.fromstring('a = dict(b=(1, -2.5), c=[None, True], d={"e": "f"})', '.py').to_dict()
    )


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('_base_', 'evil.py'),
        ('custom_imports', dict(imports=['evil'])),
        ('default_scope', 'evil'),
        ('data_root', '{{ fileDirname }}'),
        ('model.type', 'evil'),
        ('model.type', 'evil.Model'),
        ('model.type', 'os.system'),
        ('model._scope_', 'evil'),
        ('model.refiner', {TUPLE: [dict(type='evil')]}),
        ('model.backbone.trust_remote_code', True),
        ('optim_wrapper', dict(constructor='evil')),
        ('model.decode_head.loss_decode', dict(type='CrossEntropyLoss', class_weight='http://host/evil.pkl')),
        ('test_dataloader.collate_fn', 'evil.Model'),
        ('test_dataloader.dataset.ann_file', 'evil.YAML'),
        ('test_evaluator', dict(type='IoUMetric', output_dir='sprung')),
        ('test_evaluator', dict(type='IoUMetric', collect_dir='sprung')),
        ('test_evaluator', [dict(type='mmpretrain.ShapeBiasMetric', csv_dir='sprung')]),
        ('test_cfg', dict(type='TestLoop', evaluator=dict(type='DumpResults', out_file_path='sprung'))),
        ('model.diffusion_cfg', dict(target='os.system')),
        ('model.decode_backend', 'pickle'),
        ("model.it's", 1),
        ('model.refiner', dict(type='mmpretrain.torchvision/Resize')),
    ],
)
def test_a_config_that_names_something_to_execute_is_refused(folder, tmp_path, monkeypatch, key, value):
    (tmp_path / 'evil.py').write_text("open('sprung', 'w')\nModel = dict\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])

    def change(values):
        *parents, name = key.split('.')
        for parent in parents:
            values = values[parent]
        values[name] = value

    edit(folder, change)
    with pytest.raises(ValueError, match=r'config\.json: ') as error:
        WeakSegInferencer.from_pretrained(folder, **QUIET)
    assert key.split('.')[-1] in str(error.value).replace('sprung', '').replace('\\', '')
    assert not (tmp_path / 'sprung').exists()


def test_a_pickle_in_the_folder_is_not_opened(folder, tmp_path):
    for name in ('pytorch_model.bin', 'model.pth', 'config.pkl'):
        torch.save(Attack(tmp_path / 'sprung'), folder / name)
    WeakSegInferencer.from_pretrained(folder, **QUIET)
    (folder / 'model.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match=r'model\.safetensors'):
        WeakSegInferencer.from_pretrained(folder, **QUIET)
    assert not (tmp_path / 'sprung').exists()


def test_uploaded_and_downloaded_without_what_others_put_beside(inferencer, tmp_path, monkeypatch):
    with hub_server() as hub:
        monkeypatch.setenv('no_proxy', '127.0.0.1')
        monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', hub.address)  # HF_ENDPOINT is read at import
        template = hub.address + '/{repo_id}/resolve/{revision}/{filename}'
        monkeypatch.setattr(huggingface_hub.constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
        address = inferencer.push_to_hub('user/animals', license='apache-2.0', token='none')
        assert address.startswith(f'{hub.address}/user/animals/commit/')
        assert sorted(hub.models['user/animals']) == FILES
        assert b"from_pretrained('user/animals')" in hub.models['user/animals']['README.md']
        hub.models['user/animals']['pytorch_model.bin'] = b'a pickle'
        loaded = WeakSegInferencer.from_pretrained('user/animals', cache_dir=tmp_path, **QUIET)
        assert_same(loaded.model.state_dict(), inferencer.model.state_dict())
        assert hub.downloaded == {'config.json', 'model.safetensors'}
        with pytest.raises(OSError, match='user/gone'):
            WeakSegInferencer.from_pretrained('user/gone', cache_dir=tmp_path, **QUIET)


def test_sections_of_a_run_are_not_read(folder, tmp_path):
    victim = tmp_path / 'mine.py'
    backend = dict(type='LocalVisBackend', config_save_file=str(victim))
    edit(folder, lambda values: values.update(work_dir=str(tmp_path), visualizer=dict(vis_backends=[backend])))
    assert not {'work_dir', 'visualizer'} & set(read_json_config(folder / 'config.json'))


@pytest.mark.parametrize('text', ['{"a": ' * 5000 + '1' + '}' * 5000, '{"filename": 1, "model": {}}'])
def test_a_strange_file_is_named(folder, text):
    (folder / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=r'config\.json: '):
        read_json_config(folder / 'config.json')


def test_transforms_of_mmpretrain_are_known_whatever_else_of_it_can_be_imported():
    config = Config.fromfile(config_folder() / 'toco/toco_deit-b_voc.py').to_dict()
    assert 'mmpretrain.ColorJitter' in str(config)
    assert _is_registered('mmpretrain.ColorJitter')
    assert not _is_registered('mmpretrain.evil')


def test_a_class_may_be_called_pickle(files, tmp_path):
    meta = dict(classes=['background', 'dill', 'pickle'], palette=PALETTE)
    trained(tmp_path / 'iter_6.pth', files, meta=dict(dataset_meta=meta))
    publish(tmp_path / 'iter_6.pth', tmp_path / 'out', license='other')
    assert read_json_config(tmp_path / 'out/config.json').dataset_meta.classes == meta['classes']


def test_what_cannot_be_read_again_is_not_published(files, tmp_path):
    trained(tmp_path / 'a.pth', files, meta=dict(cfg="model = dict(type='AFA', decode_backend='pickle')"))
    with pytest.raises(ValueError, match='decode_backend'):
        publish(tmp_path / 'a.pth', tmp_path / 'out', license='other')
    assert not (tmp_path / 'out').exists()


def test_metrics_of_ones_own_are_left_out_and_figures_of_numpy_are_shown(files, tmp_path):
    text = Config.fromfile(files[0]).pretty_text + "\ntest_evaluator = [dict(type='Mine'), dict(type='IoUMetric')]"
    trained(tmp_path / 'a.pth', files, meta=dict(cfg=text))
    publish(tmp_path / 'a.pth', tmp_path / 'out', license='other', figures=dict(mIoU=np.float32(62.5)))
    assert read_json_config(tmp_path / 'out/config.json').test_evaluator == [dict(type='IoUMetric')]
    assert '| mIoU | 62.5 |' in (tmp_path / 'out/README.md').read_text()


def test_a_published_config_is_tested_with_its_classes_and_not_trained(folder):
    cfg = load_config(str(folder))
    assert cfg.default_hooks == dict(class_count=dict(type='ClassCountHook'))
    with pytest.raises(ValueError, match=r"load_from='.*animals/model\.safetensors'"):
        refuse_published(cfg)
    refuse_published(load_config('afa_mit-b1_voc'))


def test_nothing_else_of_the_folder_is_uploaded(folder, tmp_path, monkeypatch):
    (folder / '.env').write_text('secret')
    with hub_server() as hub:
        monkeypatch.setenv('no_proxy', '127.0.0.1')
        monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', hub.address)
        upload(folder, 'user/animals', token='none')
        assert sorted(hub.models['user/animals']) == FILES
