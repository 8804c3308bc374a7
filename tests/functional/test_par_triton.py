"""PAR's Triton kernels: numbers in Triton's interpreter, code for GPUs, and when which implementation is chosen."""

import json
import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch.testing import assert_close

from afa_mmseg.functional import par, par_triton
from afa_mmseg.functional.par import par_kernel
from afa_mmseg.models.refiners.par import PAR
from tests.functional import par_on_cpu

POINTER, SIZE = '*fp32', 'i32'
#: Types of the kernels' arguments.
SIGNATURES = dict(
    weigh=dict(image=POINTER, prior=POINTER, weights=POINTER, offsets='*i32')
    | dict(height=SIZE, width=SIZE, neighbours=SIZE, bandwidth='fp32'),
    diffuse=dict(cam=POINTER, weights=POINTER, out=POINTER, offsets='*i32')
    | dict(height=SIZE, width=SIZE, channels=SIZE, neighbours=SIZE),
)


@pytest.fixture(scope='module')
def differences():
    """Run the kernels in Triton's interpreter; the largest difference of each case."""
    pytest.importorskip('triton')
    environment = {**os.environ, 'TRITON_INTERPRET': '1', 'CUDA_VISIBLE_DEVICES': '-1'}
    command = [sys.executable, '-W', 'ignore', '-m', par_on_cpu.__name__]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-4000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize('kind', ['golden', 'shape'])
def test_triton_equals_the_reference_and_eager(differences, kind):
    found = {name: value for name, value in differences.items() if name.startswith(kind)}
    assert len(found) == dict(golden=6, shape=len(par_on_cpu.SHAPES))[kind]
    assert {name: value for name, value in found.items() if not value < 1e-5} == {}


def test_triton_keeps_its_input_and_layouts_are_free(differences):
    assert differences['input is kept'] == differences['no iteration'] == 0
    assert differences['strided'] < 1e-6
    assert differences['half precision'] < 1e-3


@pytest.mark.parametrize('name', SIGNATURES)
def test_kernels_compile_for_gpus(name):
    triton = pytest.importorskip('triton')
    compiler = pytest.importorskip('triton.compiler')
    backend = pytest.importorskip('triton.backends.compiler')
    signature = {**SIGNATURES[name], 'SLOTS': 'constexpr', 'PIXELS': 'constexpr'}
    constants = {(list(signature).index('SLOTS'),): 64, (list(signature).index('PIXELS'),): par_triton.PIXELS}
    source = compiler.ASTSource(par_triton._kernels()[name], signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=backend.GPUTarget('cuda', 90, 32))
    assert len(compiled.asm['cubin']) > 0


def inputs(requires_grad=False, dtype=torch.float32):
    image, cam = torch.rand(1, 3, 6, 6, dtype=dtype), torch.rand(1, 2, 6, 6, dtype=dtype)
    return image, cam.requires_grad_(requires_grad), (1, 2), 2


@pytest.fixture
def recorded(monkeypatch):
    """Have Triton seem to work here; the calls that reach it."""
    calls = []

    def weigh(image, dilations, *, bandwidth, prior):
        calls.append('weigh')
        return par_kernel(image, dilations, bandwidth=bandwidth, pos_weight=0.01)

    monkeypatch.setattr(par_triton, 'works_on', lambda device: True)
    monkeypatch.setattr(par_triton, 'is_available', lambda: True)
    monkeypatch.setattr(par_triton, 'weigh', weigh)
    monkeypatch.setattr(par_triton, 'diffuse', lambda cam, *_: cam)
    return calls


@pytest.mark.parametrize('implementation', ['auto', 'triton'])
def test_triton_is_chosen_where_it_works(recorded, implementation):
    par(*inputs(), implementation=implementation)
    assert recorded == ['weigh']


def test_auto_falls_back_where_triton_cannot_do_it(recorded):
    image, cam, *settings = inputs(requires_grad=True)
    (gradient,) = torch.autograd.grad(par(image, cam, *settings).sum(), cam)
    assert_close(gradient.sum(), torch.tensor(2 * 36 * 1.01**2))
    par(*inputs(dtype=torch.float64))
    torch.compile(par, backend='eager', fullgraph=True)(*inputs())
    assert recorded == []


def test_auto_without_triton_or_on_a_cpu_is_eager(monkeypatch):
    assert not par_triton.works_on(torch.device('cpu'))
    drawn = inputs()
    assert_close(par(*drawn), par(*drawn, implementation='eager'), rtol=0, atol=0)
    monkeypatch.setattr(par_triton, 'is_available', lambda: False)
    assert not par_triton.works_on(torch.device('cuda', 7))


def test_auto_warns_and_falls_back_where_kernels_fail(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('Failed to find C compiler')

    monkeypatch.setattr(par_triton, 'is_available', lambda: True)
    monkeypatch.setattr(torch, 'zeros', fail)
    par_triton.works_on.cache_clear()
    with pytest.warns(UserWarning, match='Failed to find C compiler'):
        assert not par_triton.works_on(torch.device('cuda', 0))
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # once for each device
        assert not par_triton.works_on(torch.device('cuda', 0))
    par_triton.works_on.cache_clear()


@pytest.mark.parametrize('settings', [dict(requires_grad=True), dict(dtype=torch.float64)])
def test_triton_on_request_names_what_it_cannot_do(recorded, settings):
    with pytest.raises(ValueError, match="implementation='triton'"):
        par(*inputs(**settings), implementation='triton')


def test_an_unknown_implementation_is_named():
    for build in (lambda **settings: par(*inputs(), **settings), PAR):
        with pytest.raises(ValueError, match="implementation='cuda'"):
            build(implementation='cuda')


def test_the_refiner_passes_its_implementation_on(recorded):
    image, cam, *_ = inputs(requires_grad=True)
    with pytest.raises(ValueError, match="implementation='triton'"):
        PAR(implementation='triton')(image, cam)
