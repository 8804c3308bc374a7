"""Pages are consistent: links, images, code, settings; walkthroughs run as they are written."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from afa_mmseg.models.segmentors import Phases
from tests.tools.toolbox import REPO, tool_environment

DOCS = REPO / 'docs'
PAGES = sorted(path for path in DOCS.rglob('*.md') if 'templates' not in path.parts)
LINKING = [*PAGES, *REPO.glob('*.md'), REPO / 'benchmarks/README.md']
WALKTHROUGH = DOCS / 'custom_dataset.md'
CONFIGS = REPO / 'configs/afa'
BLOCK = re.compile(r'^```(\w[^\n]*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')


def blocks(path):
    """The fenced blocks of a document that name their content: (what, text)."""
    return [(match[1], match[2]) for match in BLOCK.finditer(path.read_text(encoding='utf-8'))]


def without_code(path):
    """A document's text, neither blocks nor code within a line."""
    text = re.sub(r'^```.*?^```$', '', path.read_text(encoding='utf-8'), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r'`[^`\n]+`', 'code', text)


def anchors(path):
    """What can stand behind the `#` in a link to a page: its headings, as the site and code hosts name them."""
    headings = re.findall(r'^#+ (.+)$', without_code(path), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading).strip().lower().replace(' ', '-') for heading in headings}


def tables(path):
    """The rows of each table of a document below its head, as lists of cells."""
    found = re.findall(r'^\|[-| ]+\|\n((?:\|.*\n)+)', path.read_text(encoding='utf-8'), re.MULTILINE)
    return [[[cell.strip() for cell in row.strip('|').split(' | ')] for row in rows.splitlines()] for rows in found]


def navigation(entries):
    """The pages that the site's navigation lists."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            yield from navigation(next(iter(entry.values())))


def test_pages_are_found():
    assert {'index.md', 'method.md', 'configs.md', 'custom_dataset.md'} <= {path.name for path in PAGES}


def test_the_navigation_lists_every_page_once():
    site = yaml.safe_load((REPO / 'mkdocs.yml').read_text(encoding='utf-8'))
    assert sorted(navigation(site['nav'])) == sorted(str(path.relative_to(DOCS)) for path in PAGES)


@pytest.mark.parametrize('path', LINKING, ids=lambda path: str(path.relative_to(REPO)))
def test_links_lead_somewhere(path):
    for link in LINK.findall(without_code(path)):
        if '://' not in link:
            name, _, anchor = link.partition('#')
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), link
            assert path not in PAGES or DOCS in target.parents, f'{link} leaves the site'
            assert not anchor or anchor in anchors(target), link


def test_every_registered_module_is_listed():
    page = (DOCS / 'api/index.md').read_text(encoding='utf-8')
    trees = [ast.parse(path.read_text(encoding='utf-8')) for path in (REPO / 'afa_mmseg').rglob('*.py')]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = {node.name for node in classes if any('register_module' in ast.unparse(x) for x in node.decorator_list)}
    assert len(names) > 40
    assert {name for name in names if f'`{name}`' not in page} == set()


def test_images_are_used_and_small():
    used = {(page.parent / link).resolve() for page in LINKING for link in LINK.findall(without_code(page))}
    images = set((DOCS / 'images').iterdir())
    assert images <= used
    assert len(images) >= 8
    assert sum(path.stat().st_size for path in images) < 1e6


@pytest.mark.parametrize('path', LINKING, ids=lambda path: str(path.relative_to(REPO)))
def test_python_in_pages_parses(path):
    for kind, text in blocks(path):
        if kind == 'python':
            ast.parse(text)


@pytest.mark.parametrize('path', LINKING, ids=lambda path: str(path.relative_to(REPO)))
def test_files_that_pages_name_are_there(path):
    text = path.read_text(encoding='utf-8')
    named = re.findall(r'(?<![\w/.-])(?:tools|benchmarks|afa_mmseg|tests)/[\w/.-]+\.(?:py|sh|md)\b', text)
    assert [name for name in named if not (REPO / name).exists()] == []
    configs = re.findall(r'\b(?:afa|segformer|full)_(?:mit|efficientnet)-[\w-]+\.py', text)
    assert [name for name in configs if not (CONFIGS / name).exists()] == []


def keepers(page):
    """Files and tests that the last column of a page's tables names in code; '' where a file is named alone."""
    for table in tables(page):
        file = ''
        for *_, cell in table:
            for name in re.findall(r'`([^`]+)`', cell):
                place, _, test = name.partition('::')
                file = file if place == '...' else place
                yield file, test


def has_test(file, name):
    """Whether a file has a test of this name, whose end may be left out: `test_a...`."""
    tests = re.findall(r'^ *def (test_\w+)', (REPO / file).read_text(encoding='utf-8'), re.MULTILINE)
    return any(fnmatchcase(test, name.replace('...', '*')) for test in tests)


@pytest.mark.parametrize(('file', 'test'), keepers(DOCS / 'reliability.md'))
def test_what_keeps_a_promise_is_there(file, test):
    assert file.startswith('tests/')
    assert has_test(file, test) if test else (REPO / file).exists()


def test_what_keeps_promises_is_found():
    found = set(keepers(DOCS / 'reliability.md'))
    assert ('tests/engine/test_resume.py', 'test_killed_while_a_checkpoint_is_written') in found  # `...::`
    assert len(found) > 20
    assert has_test('tests/test_docs.py', 'test_what_keeps...')
    assert not has_test('tests/test_docs.py', 'test_what_keeps')


class TestConfigTables:
    """`docs/configs.md` beside `configs/afa`."""

    trainings, ablations, animals, settings = tables(DOCS / 'configs.md')

    def test_every_config_is_in_them(self):
        named = {row[0].strip('`') for row in (*self.trainings, *self.ablations, *self.animals)}
        assert named == {path.name for path in CONFIGS.glob('*.py')}

    @pytest.mark.parametrize('row', trainings, ids=lambda row: row[0])
    def test_figures_are_the_configs_own(self, row):
        name, _, network, classes, iterations, crop = row
        config = Config.fromfile(CONFIGS / name.strip('`'))
        size = (int(crop), int(crop))
        assert config.model.decode_head.num_classes == int(classes)
        assert config.train_cfg.max_iters == int(iterations)
        assert config.train_pipeline[-2].crop_size == config.model.data_preprocessor.size == size
        arch = config.model.backbone.get('arch')
        other = 'EfficientNet-Lite2' if 'efficientnet-lite2' in name else 'SegFormer'
        name = {None: other, 'deit-s': 'DeiT-S'}.get(arch, f'MiT-{arch}')
        assert network.lower().startswith(name.lower())

    @pytest.mark.parametrize('row', [*ablations, *animals], ids=lambda row: row[0])
    def test_an_ablation_is_its_documented_difference(self, row, tmp_path):
        name, difference, _ = row
        base = CONFIGS / f'{name.strip("`").rpartition("_")[0]}.py'
        mine = tmp_path / 'mine.py'
        mine.write_text(f'_base_ = {str(base)!r}\nmodel = dict({difference.strip("`")})\n')
        assert Config.fromfile(mine).model == Config.fromfile(CONFIGS / name.strip('`')).model

    @pytest.mark.parametrize('row', settings, ids=lambda row: row[0])
    def test_settings_have_the_documented_values(self, row):
        value = Config.fromfile(CONFIGS / 'afa_mit-b1_voc.py')
        for key in row[0].strip('`').split('.'):
            value = value.get(key, Phases._field_defaults.get(key))
        shown = 'PAR, 10 times' if value == dict(type='PAR', num_iters=10) else 'none' if value is None else str(value)
        assert shown == row[1]


@pytest.fixture
def checkout(tmp_path):
    """What a user has: a copy of the repository without data, work and environment."""
    for name in ('afa_mmseg', 'configs', 'tools'):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'data').mkdir()
    return tmp_path


def test_blocks_name_their_content():
    kinds = [kind for kind, _ in blocks(WALKTHROUGH)]
    assert kinds.count('bash') >= 6
    assert kinds.count('sh') == 1  # the long run, which is not run here
    assert set(kinds) <= {'bash', 'text', 'sh'}


def test_the_method_is_drawn_by_its_lines(tmp_path, monkeypatch):
    page, script = DOCS / 'method.md', tmp_path / 'method.py'
    pytest.importorskip('timm')
    name = 'afa_efficientnet-lite2_voc-animals'
    data = tmp_path / 'data/voc_animals'
    for folder, mode, suffix in (('images', 'RGB', 'jpg'), ('masks', 'L', 'png')):
        (data / folder).mkdir(parents=True)
        for image_id in ('2009_004507', '2007_008964'):
            Image.new(mode, (352, 235)).save(data / folder / f'{image_id}.{suffix}')
    (tmp_path / 'configs').symlink_to(REPO / 'configs')
    run = tmp_path / 'work_dirs' / name
    run.mkdir(parents=True)
    config = Config.fromfile(CONFIGS / f'{name}.py')
    config.model.backbone.init_cfg = None
    classes = ('background', 'cat', 'cow', 'dog', 'horse', 'person', 'sheep')
    state = MODELS.build(config.model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes))), run / 'iter_1000.pth')
    script.write_text('\n'.join(text for kind, text in blocks(page) if kind == 'python'))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    drawn = {path.name: Image.open(path).size for path in tmp_path.glob('*.jpg')}
    assert drawn == {path.name: Image.open(path).size for path in (DOCS / 'images').glob('method_*')}


def test_a_second_stage_on_your_own_images_learns_from_the_files(tmp_path):
    ((_, text),) = [block for block in blocks(DOCS / 'second_stage.md') if block[0] == 'python']
    (tmp_path / 'my_config.py').write_text(f'_base_ = {str(CONFIGS / "afa_mit-b1_custom.py")!r}\n')
    (tmp_path / 'second.py').write_text(text)
    config = Config.fromfile(tmp_path / 'second.py')
    config.model.backbone.init_cfg = None
    labels = torch.randint(0, 4, (1, 64, 64))
    model = MODELS.build(config.model)
    losses = model.decode_head.loss_by_feat(
        model(torch.rand(1, 3, 64, 64)), [SegDataSample(gt_sem_seg=PixelData(data=labels))]
    )
    assert losses['loss_ce'].item() > 0
    dataset = config.train_dataloader.dataset
    assert dataset.data_prefix.seg_map_path == '/path/to/labels'
    assert [step['type'] for step in dataset.pipeline[:3]] == ['LoadImage', 'LoadMask', 'Resize']


@pytest.mark.slow
def test_the_walkthrough_of_your_own_images(checkout):
    # The copy before what is installed; `python` is this one.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    environment = tool_environment(PATH=path, PYTHONPATH=str(checkout), OMP_NUM_THREADS='1')
    output = ''
    for kind, text in blocks(WALKTHROUGH):
        if kind == 'bash':
            command = ['bash', '-euo', 'pipefail', '-c', text]
            run = subprocess.run(
                command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            output = run.stdout + run.stderr
            assert run.returncode == 0, f'{text}\n{output[-3000:]}'
        elif kind == 'text':
            assert [line for line in text.splitlines() if line not in output.splitlines()] == [], output[-3000:]

    report = (checkout / 'data/my_images/report/report.txt').read_text(encoding='utf-8')
    assert re.search(r'\| disc +\| +1 \|', report)
    work_dir = checkout / 'work_dirs/my_images_trial'
    val = (checkout / 'data/my_images/val.txt').read_text().split()
    for img_id in val:
        label = np.asarray(Image.open(work_dir / f'masks/{img_id}.png'))
        assert label.shape == (128, 128)
        assert label.max() < 7
    assert len(list((work_dir / 'shown').rglob('*.png'))) == len(val) == 10
