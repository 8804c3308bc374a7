"""The check of a data set names what is wrong with it, and writes what a run needs."""

import shutil

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from afa_mmseg.datasets.inspection import (
    ERROR,
    WARNING,
    DataFiles,
    format_findings,
    format_tables,
    inspect_sources,
    sources_of_config,
    sources_of_folder,
    write_config,
    write_report,
    write_split_lists,
)
from afa_mmseg.datasets.inspection.checks import read_facts
from tests.datasets.files import write_image, write_mask, write_template
from tests.tools.toolbox import REPO

#: Height and width of the images.
SIZE = (80, 120)
LABELS = {'a': 'cat', 'b': 'dog', 'c': 'cat dog', 'd': '', 'e': 'dog', 'f': 'cat'}
ORIENTATION = 0x0112


@pytest.fixture
def root(tmp_path):
    """Six images with labels of two classes, a folder of masks that agree, and two split lists."""
    for seed, (name, labels) in enumerate(LABELS.items()):
        write_image(tmp_path / f'images/{name}.jpg', *SIZE, seed=seed)
        value = {'cat': 1, 'dog': 2}.get(labels, 0)
        write_mask(tmp_path / f'masks/{name}.png', value, *SIZE)
    write_array(tmp_path / 'masks/c.png', np.tile(np.arange(3, dtype=np.uint8), (80, 40)))
    write_labels(tmp_path, **LABELS)
    (tmp_path / 'train.txt').write_text('a\nb\nc\nd\n')
    (tmp_path / 'val.txt').write_text('e\nf\n')
    return tmp_path


def write_labels(root, **labels):
    lines = [f'{name},{int("cat" in text)},{int("dog" in text)}' for name, text in labels.items()]
    (root / 'labels.csv').write_text('\n'.join(['id,cat,dog', *lines]) + '\n')


def write_array(path, array):
    Image.fromarray(array).save(path)


def inspect(root, *, lists=(), masks=True):
    sources = sources_of_folder(
        str(root / 'images'),
        str(root / 'labels.csv'),
        str(root / 'masks') if masks else None,
        [str(root / name) for name in lists],
    )
    return inspect_sources(sources, num_workers=0)


def inspect_config(root, *, mask_dir='masks', num_classes=3, **options):
    """Inspect with the template, its lines edited as a user does."""
    write_template(root / 'config.py', data_root=str(root), mask_dir=mask_dir, num_classes=num_classes, long_side=128)
    config = Config.fromfile(root / 'config.py')
    config.merge_from_dict(options)
    return inspect_sources(sources_of_config(config), num_workers=0)


def found(inspection, level, *words):
    """Whether exactly one finding of this level holds these words."""
    texts = ['\n'.join(finding.lines()) for finding in inspection.findings if finding.level == level]
    matching = [text for text in texts if all(word in text for word in words)]
    assert len(matching) == 1, format_findings(inspection)
    return True


def test_nothing_is_found_in_a_sound_data_set(root):
    for inspection in (inspect(root), inspect(root, lists=['train.txt', 'val.txt'])):
        assert inspection.findings == []
        assert format_findings(inspection) == '0 errors, 0 warnings'
    train, val = inspection.splits
    assert (list(train.paths), list(val.paths)) == (list('abcd'), list('ef'))
    assert train.classes == ('background', 'cat', 'dog')


def cut(name, share):
    def apply(root):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(share * len(data))])

    return apply


def zeroed(name):
    def apply(root):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))

    return apply


def write(name, text):
    return lambda root: (root / name).write_text(text)


def labelled(**labels):
    return lambda root: write_labels(root, **{**LABELS, **labels})


def copied(source, target, *, of='a'):
    """Copy an image; the copy has the labels of another."""

    def apply(root):
        shutil.copy(root / source, root / target)
        write_labels(root, **LABELS, g=LABELS[of])

    return apply


def masked(name, array):
    return lambda root: write_array(root / f'masks/{name}.png', np.asarray(array, np.uint8))


def turned(orientation):
    def apply(root):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        with Image.open(root / 'images/a.jpg') as image:
            image.save(root / 'images/a.jpg', exif=exif, quality=95)
        (root / 'masks/a.png').unlink()

    return apply


@pytest.mark.parametrize(
    ('break_it', 'level', 'words'),
    [
        (cut('images/b.jpg', 0.6), ERROR, ['cannot be read (1)', 'b: ']),
        (zeroed('images/b.jpg'), ERROR, ['cannot be read (1)', 'b: ']),
        (labelled(zebra='dog'), ERROR, ['labels.csv without an image', '(1)', 'zebra']),
        (lambda root: write_image(root / 'images/new.jpg', seed=9), ERROR, ['without labels in', '(1)', 'new']),
        (write('images/phone.heic', '?'), WARNING, ['files in', 'not read', '.heic (1)']),
        (write('labels.csv', 'id,cat\na,1\na,0\n'), ERROR, ['cannot be', "id 'a' occurs twice"]),
        (masked('b', np.full(SIZE, 3)), ERROR, ['values that are no class (1)', 'b: 3', '0 to 2, and 255 is ignored']),
        (masked('b', np.full((90, 140), 2)), ERROR, ['another size', 'b: mask 140 x 90, image 120 x 80']),
        (masked('b', np.full((*SIZE, 3), 2)), ERROR, ['masks that cannot be read (1)', 'b.png', 'mode RGB']),
        (masked('b', np.ones(SIZE)), WARNING, ['name different classes (1)', 'b: mask alone cat; labels alone dog']),
        (lambda root: (root / 'masks/b.png').unlink(), WARNING, ['without a .png mask', '(1)']),
        (turned(6), WARNING, ['EXIF orientation (1)', 'a']),
        (copied('images/a.jpg', 'images/g.jpg'), WARNING, ['image twice (1)', 'a (all), g (all)']),
        (copied('images/a.jpg', 'images/g.jpg', of='e'), ERROR, ['different labels (1)']),
        (labelled(**{name: f'cat {text}' for name, text in LABELS.items()}), WARNING, ['in every image (1)', 'cat']),
        (labelled(a='', b='cat dog', e='', f=''), WARNING, ['always occur together (1)', 'cat, dog']),
        (labelled(b='', c='cat', e=''), WARNING, ['classes without an image (1)', 'dog']),
        (
            write('labels.csv', 'a,cat\nb,dog\nc,cat,dog\nd\ne,dgo\nf,cat\n'),
            WARNING,
            ['few images show (1)', "dgo: 1 did you mean 'dog'?"],
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_a_remedy(root, break_it, level, words):
    break_it(root)
    inspection = inspect(root)
    assert found(inspection, level, *words)
    assert inspection.num_errors == (level == ERROR)


# Training and validation


def test_nothing_is_found_with_a_config_that_fits(root):
    for mask_dir in ('masks', ''):
        inspection = inspect_config(root, mask_dir=mask_dir)
        assert inspection.findings == []
        train, val = inspection.splits
        assert (list(train.paths), list(val.paths)) == (list('abcd'), list('ef'))
        assert (list(train.masks), list(val.masks)) == ([], list('ef') if mask_dir else [])


def test_a_network_with_another_number_of_classes(root):
    inspection = inspect_config(root, num_classes=4)
    assert found(inspection, ERROR, 'num_classes is 4', 'train has 3 classes')
    assert found(inspection, ERROR, 'num_classes is 4', 'val has 3 classes')


def test_a_split_list_that_names_no_image(root):
    (root / 'val.txt').write_text('e\nghost\n')
    inspection = inspect(root, lists=['train.txt', 'val.txt'])
    assert found(inspection, ERROR, 'val: ids of the split list without an image', '(1)', 'ghost')
    assert inspection.num_errors == 1
    assert inspection.splits[1].unlisted == 5


def test_lists_of_the_same_name_are_named_by_their_paths(root):
    for name in ('train', 'val'):
        (root / name).mkdir()
        (root / f'{name}.txt').rename(root / name / 'ids.txt')
    train, val = inspect(root, lists=['train/ids.txt', 'val/ids.txt']).splits
    assert (train.name, val.name) == (str(root / 'train/ids.txt'), str(root / 'val/ids.txt'))
    assert (list(train.paths), list(val.paths)) == (list('abcd'), list('ef'))


def test_an_image_in_training_and_validation(root):
    (root / 'val.txt').write_text('e\nf\na\n')
    shutil.copy(root / 'images/b.jpg', root / 'images/f.jpg')
    inspection = inspect_config(root)
    assert found(inspection, ERROR, 'in two splits (2)', 'a (train), a (val)', 'b (train), f (val)')
    assert found(inspection, ERROR, 'different labels (1)', 'b (train), f (val)')


def test_validation_needs_all_of_its_masks(root):
    for name in 'ae':
        (root / f'masks/{name}.png').unlink()
    inspection = inspect_config(root)
    assert found(inspection, ERROR, 'val: images without a .png mask', '(1)', 'e')
    assert inspection.num_errors == 1
    shutil.rmtree(root / 'masks')
    assert found(inspect_config(root), ERROR, 'val: no such folder of masks', str(root / 'masks'))


def test_splits_with_classes_of_their_own(root):
    (root / 'other.csv').write_text('id,cat,cow\ne,1,0\nf,1,1\n')
    inspection = inspect_config(root, mask_dir='', **{'val_dataloader.dataset.label_file': 'other.csv'})
    assert found(inspection, ERROR, 'splits name different classes', 'train: background, cat, dog')


def test_wrapped_data_sets_are_looked_at_one_by_one(root):
    config = Config.fromfile(REPO / 'configs/afa/afa_mit-b1_custom.py')
    data = {**config.train_dataloader.dataset, 'data_root': str(root)}
    repeated = dict(type='RepeatDataset', times=2, dataset=data)
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[repeated, {**data, 'ann_file': 'val.txt'}])
    config.val_dataloader = None
    inspection = inspect_sources(sources_of_config(config), num_workers=0)
    assert [(split.name, len(split.paths)) for split in inspection.splits] == [('train 1', 4), ('train 2', 2)]


def test_data_without_image_level_labels_cannot_be_checked(root):
    config = Config.fromfile(REPO / 'configs/afa/afa_mit-b1_voc-test.py')
    config.train_dataloader = config.test_dataloader
    with pytest.raises(ValueError, match='train_dataloader.dataset.type is PascalVOCDataset'):
        sources_of_config(config)


def test_xml_labels_are_checked_too(voc_root):
    config = Config.fromfile(REPO / 'configs/afa/afa_mit-b1_voc.py')
    config.train_dataloader.dataset.data_root = str(voc_root)
    config.val_dataloader = None
    (split,) = inspect_sources(sources_of_config(config), num_workers=0).splits
    assert split.labels['2007_000001'] == ['cat', 'dog']
    (voc_root / 'Annotations/2007_000002.xml').unlink()
    inspection = inspect_sources(sources_of_config(config), num_workers=0)
    assert found(inspection, ERROR, 'labels cannot be read', '1 of 3', '.xml', 'convert_labels.py')


@pytest.mark.parametrize(('exif_orientation', 'size'), [(True, (80, 120)), (False, (120, 80))])
def test_orientations_count_for_image_and_mask_alike(tmp_path, exif_orientation, size):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for name, mode in (('image', 'RGB'), ('mask', 'L')):
        Image.new(mode, (80, 120)).save(tmp_path / f'{name}.png', exif=exif)
    facts = read_facts((str(tmp_path / 'image.png'), str(tmp_path / 'mask.png'), exif_orientation))
    assert facts.size == facts.mask_size == size
    assert facts.is_turned == exif_orientation


# Reports


def test_tables_and_report_count_the_same(root, tmp_path):
    inspection = inspect(root, lists=['train.txt', 'val.txt'])
    text = format_tables(inspection)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if '|' in line]
    for row in (
        ['images', '4', '2'],
        ['images of 0 classes', '1', '0'],
        ['images of 1 class', '2', '2'],
        ['widths: min, median, max', '120, 120, 120', '120, 120, 120'],
        ['cat', '1', '2', '1'],
        ['dog', '2', '2', '1'],
    ):
        assert row in rows, text
    assert 'num_classes = 3, the background included' in text
    for _ in range(2):
        write_report(inspection, tmp_path / 'report')
    assert text in (tmp_path / 'report/report.txt').read_text(encoding='utf-8')


def test_a_report_holds_all_items_and_the_terminal_a_few(root, tmp_path):
    for number in range(9):
        (root / f'images/x{number}_.jpg').write_text('no image')
    inspection = inspect(root)
    assert '... and 4 more' in format_findings(inspection)
    assert 'x8_' not in format_findings(inspection)
    write_report(inspection, tmp_path / 'report')
    assert '    x8_: ' in (tmp_path / 'report/report.txt').read_text(encoding='utf-8')


# Split lists


def split(root, share=0.5, seed=0):
    return write_split_lists(inspect(root), root / 'lists', share, seed)


def test_split_lists_hold_each_image_once(root):
    train, val = split(root)
    assert (len(train), len(val)) == (3, 3)
    assert sorted(train + val) == list('abcdef')
    assert (root / 'lists/train.txt').read_text().split() == train
    assert (root / 'lists/val.txt').read_text().split() == val
    assert split(root) == (train, val)


def test_the_seed_decides_and_not_the_names(root):
    lists = set()
    for seed in range(8):
        shutil.rmtree(root / 'lists', ignore_errors=True)
        lists.add(tuple(split(root, seed=seed)[1]))
    assert len(lists) > 3
    shutil.rmtree(root / 'lists')
    val = split(root)[1]
    shutil.rmtree(root / 'lists')
    for name in LABELS:
        (root / f'images/{name}.jpg').rename(root / f'images/z{name}.jpg')
        (root / f'masks/{name}.png').rename(root / f'masks/z{name}.png')
    write_labels(root, **{f'z{name}': text for name, text in LABELS.items()})
    assert split(root)[1] == [f'z{name}' for name in val]


def test_copies_of_an_image_stay_together(root):
    for name in 'bcd':
        shutil.copy(root / 'images/a.jpg', root / f'images/{name}.jpg')
    write_labels(root, **dict.fromkeys(LABELS, 'cat'))
    for seed in range(6):
        shutil.rmtree(root / 'lists', ignore_errors=True)
        for ids in split(root, 1 / 3, seed):
            assert set('abcd') <= set(ids) or not set('abcd') & set(ids)


@pytest.mark.parametrize(
    ('break_it', 'share', 'words'),
    [
        (cut('images/b.jpg', 0.5), 0.5, 'errors'),
        (labelled(), 0, '0 is not between'),
        (write('lists/val.txt', 'a\n'), 0.5, r'val\.txt'),
    ],
)
def test_split_lists_are_not_written(root, break_it, share, words):
    (root / 'lists').mkdir()
    break_it(root)
    before = {path: path.read_text() for path in (root / 'lists').iterdir()}
    with pytest.raises(ValueError, match=words):
        split(root, share)
    assert {path: path.read_text() for path in (root / 'lists').iterdir()} == before


# Configs


@pytest.mark.parametrize('masks', [False, True])
def test_a_config_is_written_that_reads_the_same_data_from_anywhere(root, tmp_path, monkeypatch, masks):
    monkeypatch.chdir(root)
    files = DataFiles('images', 'labels.csv', 'train.txt', 'val.txt', 'masks' if masks else '')
    assert write_config('mine.py', inspect(root), files) == 2000
    monkeypatch.chdir('/')
    config = Config.fromfile(root / 'mine.py')
    assert config.model.decode_head.num_classes == 3
    assert config.train_cfg.max_iters == config.param_scheduler[0].max_iters == 2000
    inspection = inspect_sources(sources_of_config(config), num_workers=0)
    assert inspection.findings == []
    assert [list(split.paths) for split in inspection.splits] == [list('abcd'), list('ef')]
    assert list(inspection.splits[1].masks) == (list('ef') if masks else [])


def test_a_base_is_named_from_here(root, monkeypatch):
    monkeypatch.chdir(root)
    write_template(root / 'base.py')
    files = DataFiles('images', 'labels.csv', 'train.txt', 'val.txt')
    write_config('sub/mine.py', inspect(root), files, base='base.py', max_iters=7)
    config = Config.fromfile(root / 'sub/mine.py')
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (7, 1)


@pytest.mark.parametrize('base', ['toco_deit-s_voc-animals', 'full_mit-b0_voc-animals', 'segformer_mit-b1_voc-pseudo'])
def test_a_base_of_another_method_is_refused(root, base):
    files = DataFiles(*(str(root / name) for name in ('images', 'labels.csv', 'train.txt', 'val.txt')))
    with pytest.raises(ValueError, match=f'base {base}: .* name a config of AFA'):
        write_config(root / 'mine.py', inspect(root), files, base=base)
    assert not (root / 'mine.py').exists()


@pytest.mark.parametrize(
    ('base', 'phases'),
    [
        ('afa_mit-b1_voc', (200, 600)),
        ('afa_mit-b1_voc_no-propagation', (200, 2000)),
        ('afa_efficientnet-lite2_voc-animals', (300, 700)),
    ],
)
def test_phases_are_those_of_the_base_in_proportion(root, base, phases):
    files = DataFiles(*(str(root / name) for name in ('images', 'labels.csv', 'train.txt', 'val.txt')))
    write_config(root / 'mine.py', inspect(root), files, base=base)
    train_cfg = Config.fromfile(root / 'mine.py').model.train_cfg
    assert (train_cfg.cls_only_until, train_cfg.cam_label_until) == phases


@pytest.mark.parametrize(('num_images', 'max_iters'), [(10582, 20000), (5000, 9500), (100_000, 80_000)])
def test_iterations_follow_the_number_of_images(root, num_images, max_iters):
    (root / 'many.txt').write_text(''.join(f'{number}\n' for number in range(num_images)))
    names = ('images', 'labels.csv', 'many.txt', 'val.txt')
    files = DataFiles(*(str(root / name) for name in names))
    assert write_config(root / 'mine.py', inspect(root), files) == max_iters


def test_a_config_that_was_edited_is_kept(root):
    files = DataFiles(*(str(root / name) for name in ('images', 'labels.csv', 'train.txt', 'val.txt')))
    for _ in range(2):
        write_config(root / 'mine.py', inspect(root), files)
    (root / 'mine.py').write_text('max_iters = 5\n')
    with pytest.raises(FileExistsError, match=r'mine\.py'):
        write_config(root / 'mine.py', inspect(root), files)
    with pytest.raises(ValueError, match=r'mine\.txt'):
        write_config(root / 'mine.txt', inspect(root), files)
