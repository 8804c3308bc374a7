"""The scripts of benchmarks/ run, on the smallest inputs that they take, and write down what they measured."""

import json
import os
import platform
import re
import runpy
import subprocess
import sys
from functools import lru_cache

import pytest
import torch
from mmengine.config import Config

from tests.tools.toolbox import REPO, tool_environment

pytestmark = pytest.mark.slow  # starts processes that train or measure

BENCHMARKS = REPO / 'benchmarks'
TINY = '--config configs/afa/afa_mit-tiny_shapes.py'
ONCE = '--repeats 1 --warmup 0 --threads 1 --no-memory'
#: The smallest run of each script.
SMALLEST = dict(
    par=f'{ONCE} --size 16 16 --channels 2 3 --dilations 1 2 --iters 2',
    random_walk=f'{ONCE} --crops 64 96 --depth 8',
    permutohedral=f'{ONCE} --scale 0.05',
    crf='--repeats 1 --warmup 0 --threads 1 --size 16 16 --classes 3 --iters 1',
    dense_energy=f'{ONCE} {TINY} --crop 64',
    loading=f'{ONCE} --data VOC --workers 1 --images 4 --crop 64',
    train_step=f'{ONCE} {TINY} --crops 64',
    scaling=f'{ONCE} {TINY} --crop 64 --batch 2',
    inference=f'{ONCE} {TINY} --size 64',
    soak='--iterations 20 --interval 1 --val-interval 20 --workers 1',
)
#: Those that share no parser with the others.
APART = ('soak', 'gpu_suite', 'cpu_figures', 'voc_animals')
TIMED = [name for name in SMALLEST if name not in APART]
#: Takes the allocator's settings from a restart, which costs its imports once more; the others are given them.
RESTARTED = 'permutohedral'
ALLOCATOR = dict.fromkeys(('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_'), '268435456')
#: What a step's time goes to.
PARTS = {'training forward', 'CAM passes', 'label work', 'propagation', 'refinement', 'losses', 'backward', 'optimiser'}


def run_benchmark(name, arguments, folder, returncodes=(0,)):
    """Run a script to its end; return the document that it writes, and its exit code."""
    (folder / 'pydensecrf.py').write_text('raise ImportError')  # not installed, wherever this runs
    given = {} if name == RESTARTED else ALLOCATOR
    path = os.pathsep.join(map(str, (folder, REPO)))
    environment = tool_environment(PYTHONPATH=path, OMP_NUM_THREADS='1', TORCHINDUCTOR_CACHE_DIR=str(folder), **given)
    for setting in ALLOCATOR.keys() - given.keys():
        environment.pop(setting, None)
    command = [sys.executable, BENCHMARKS / f'{name}.py', *arguments.split(), '--json', folder / 'out/record.json']
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert process.returncode in returncodes, process.stderr[-4000:]
    return json.loads((folder / 'out/record.json').read_text()), process.returncode


@pytest.fixture(scope='module')
def document(tmp_path_factory):
    """Return the document of a script's smallest run, which is made once."""

    @lru_cache
    def of(name):
        return run_benchmark(name, SMALLEST[name], tmp_path_factory.mktemp(name))[0]

    return of


def medians(document):
    return {(row['group'], row['name']): row['median'] for row in document['results']}


def split_of(document, crop):
    """The parts of a training step: {name: (seconds, per cent)}."""
    pattern = re.compile(r'([\d.e-]+) s, ([\d.]+) %')
    found = ((name, pattern.fullmatch(str(fact))) for name, fact in document['facts'].items())
    return {name.split(': ')[1]: tuple(map(float, match.groups())) for name, match in found if match}


def test_every_script_is_run_and_stands_in_the_table_of_the_readme():
    rows = re.findall(r'^\| `(\w+)\.py` \|', (BENCHMARKS / 'README.md').read_text(encoding='utf-8'), re.MULTILINE)
    assert sorted(rows) == sorted({*SMALLEST, *APART}) == sorted(path.stem for path in BENCHMARKS.glob('[!_]*.py'))


@pytest.mark.parametrize('name', TIMED)
def test_what_was_timed_is_written_down(document, name):
    written = document(name)
    assert written['command'].startswith(f'python benchmarks/{name}.py --repeats 1 --warmup 0 ')
    assert (written['record']['threads'], written['record']['torch']) == (1, torch.__version__)
    times = medians(written)
    assert len(times) == len(written['results']) > 0  # no case hides another
    for row in written['results']:
        assert row['seconds'] == [row['median']]
        assert row['median'] > 0
        if row['baseline'] is not None:
            assert row['ratio'] == pytest.approx(row['median'] / times[row['group'], row['baseline']])


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has these settings')
def test_a_script_restarts_with_the_settings_of_the_allocator(document):
    record = document(RESTARTED)['record']
    assert record['allocator_set_by'] == 'a restart of the benchmark'
    assert record['allocator'].keys() == ALLOCATOR.keys()
    assert document('par')['record']['allocator'] == ALLOCATOR  # kept, where the user has set them
    assert document('par')['record']['allocator_set_by'] == 'the environment'


@pytest.mark.parametrize(('name', 'groups'), [('par', 2), ('random_walk', 2)])
def test_both_formulations_agree(document, name, groups):
    differences = {fact: x for fact, x in document(name)['facts'].items() if fact.startswith('largest difference')}
    assert len(differences) == groups
    assert max(differences.values()) < 1e-4


def test_crf_is_timed_alone_where_there_is_no_other(document):
    written = document('crf')
    assert [row['name'] for row in written['results']] == ['dense_crf']
    assert list(written['facts']) == ['pydensecrf2']
    assert 'not installed' in written['facts']['pydensecrf2']


@pytest.mark.skipif(not os.access('/proc/self/clear_refs', os.W_OK), reason='only Linux reports the peak of memory')
def test_memory_is_that_of_a_fresh_process(document):
    (row,) = document('crf')['results']
    assert 0 <= row['memory']['extra_mib'] < 100 < row['memory']['total_mib']  # torch alone takes more than 100


def test_each_transform_is_timed_beside_the_whole_pipeline(document):
    written = document('loading')
    pipeline = Config.fromfile(REPO / 'configs/afa/afa_mit-b1_voc.py').train_dataloader.dataset.pipeline
    transforms = [transform.type for transform in pipeline]
    names = [row['name'] for row in written['results']]
    assert names[0] == 'whole pipeline'
    assert names[2:] == [*transforms[1:], '1 worker process', 'training step']  # the data set has a loader of its own
    images = float(written['facts']['VOC, 1 worker process'].split(' images/s')[0])
    assert images == pytest.approx(4 / medians(written)['VOC, 4 JPEGs of 375x500', '1 worker process'], abs=0.5)


def check_parts(written):
    parts = split_of(written, 64)
    assert parts.keys() == PARTS | {'data loading', 'rest'}
    assert min(seconds for seconds, _ in parts.values()) > 0
    assert sum(share for _, share in parts.values()) == pytest.approx(100, abs=0.5)


def test_a_training_step_is_divided_into_its_parts_and_compared_with_its_floor(document):
    check_parts(document('train_step'))
    pairs = {(row['group'], row['name'], row['baseline']) for row in document('train_step')['results']}
    assert {('crop 64', 'step', 'floor'), ('crop 64, warm-up', 'warm-up step', 'plain step')} < pairs


def test_a_training_step_of_toco_is_compared_with_its_floor(tmp_path):
    arguments = f'{ONCE} --config configs/toco/toco_vit-tiny_shapes.py --crops 64'
    written, _ = run_benchmark('train_step', arguments, tmp_path)
    assert {('crop 64', 'step'), ('crop 64', 'floor'), ('crop 64, warm-up', 'plain step')} < medians(written).keys()
    assert split_of(written, 64).keys() == PARTS - {'propagation'} | {'data loading', 'rest', 'views and local crops'}


def test_facts_are_ratios_of_what_was_timed(document):
    energy, scaling, inference = (
        {name: median for (_, name), median in medians(document(script)).items()}
        for script in ('dense_energy', 'scaling', 'inference')
    )
    share = 100 * energy['energy loss'] / energy['training step']
    assert document('dense_energy')['facts']['share of the step without it'] == f'{share:.1f} %'
    gain = scaling['1 process'] / scaling['2 processes']
    assert document('scaling')['facts']['gain'] == f'{gain:.2f} times'
    for name, seconds in inference.items():
        assert document('inference')['facts'][f'{name}, images/s'] == pytest.approx(1 / seconds)


def test_the_exported_file_is_timed_too(tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    written, _ = run_benchmark('inference', f'{SMALLEST["inference"]} --onnx', tmp_path)
    assert [row['name'] for row in written['results']] == ['ours', "mmseg's SegFormer", 'onnxruntime']


def test_soak_writes_down_each_quantity_and_says_whether_it_grows(tmp_path):
    written, returncode = run_benchmark('soak', SMALLEST['soak'], tmp_path, returncodes=(0, 1))
    quantities = {'trainer_mib', 'workers_mib', 'files', 'threads', 'processes'}
    assert written['growth'].keys() == quantities
    assert returncode == (0 if all(row['flat'] for row in written['growth'].values()) else 1)
    assert [row['iteration'] for row in written['rows']] == list(range(1, 21))
    for row in written['rows']:
        assert row.keys() == quantities | {'iteration'}
        assert row['processes'] == 1  # the one that loads images
        assert row['trainer_mib'] > 100
    (validation,) = written['validations']
    assert validation.keys() == quantities | {f'{name}_change' for name in quantities} | {'iteration'}
    assert written['command'].startswith('python benchmarks/soak.py --iterations 20 --interval 1 ')


def test_par_is_compared_with_what_inductor_makes_of_it(tmp_path):
    small = f'{ONCE} --size 16 16 --channels 2 --dilations 1 --iters 1 --compile'
    written, _ = run_benchmark('par', small, tmp_path)
    assert [row['name'] for row in written['results']] == ['par', 'plain', 'par, compiled']
    assert written['facts']['largest difference, 2 channels'] < 1e-4
    compilation = written['facts']['first call, which compiles, 2 channels, in seconds']
    assert compilation > max(row['median'] for row in written['results'])


def test_a_training_step_can_be_traced(tmp_path):
    written, _ = run_benchmark('train_step', f'{SMALLEST["train_step"]} --compile eager', tmp_path)
    check_parts(written)
    compilation = written['facts']['first call, which compiles, crop 64, in seconds']
    assert compilation > medians(written)['crop 64', 'step']


@pytest.mark.parametrize(
    ('name', 'device', 'gpus', 'words'),
    [
        *((name, 'cuda', 0, '--device cuda: ') for name in TIMED),
        ('par', 'gpu', 2, "got 'gpu'"),
        ('par', 'meta', 2, "got 'meta'"),
        ('par', 'cuda:2', 2, '--device cuda:2: torch finds GPUs 0 to 1 only'),
    ],
)
def test_a_device_that_is_not_there_is_named(name, device, gpus, words, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    for setting, value in ALLOCATOR.items():
        monkeypatch.setenv(setting, value)
    script = BENCHMARKS / f'{name}.py'
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, 'argv', [str(script), '--device', device])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name='__main__')
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
