"""Parts c to f of the GPU suite: times and memory of the training step, PAR, the filters and prediction."""

import statistics
import time
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

import torch
from _inputs import build_segmentor, make_prob, make_scene, smooth_noise
from _plain import plain_par
from _suite import Options, Report
from inference import build_plain
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from train_step import CONFIG, Step

from afa_mmseg.functional import dense_crf, dense_energy_loss, par, par_triton
from afa_mmseg.functional.permutohedral import PermutohedralLattice, bilateral_features

TINY = 'configs/afa/afa_mit-tiny_shapes.py'
#: Of the published run.
ITERATIONS = 20_000
GIB = 2**30


def count_parameters(options: Options) -> int:
    """Build the smallest model on the device."""
    return sum(parameter.numel() for parameter in build_segmentor(TINY, options.device).parameters())


def rounds_of(
    calls: Mapping[str, Callable[[], object]], options: Options, seconds: float = 6.0, most: int = 10
) -> dict[str, list[float]]:
    """Time calls in turn, after two rounds of warm-up, until there are `most` rounds or the time is over.

    On a GPU by CUDA events, one pair around each call.
    """
    if options.quick:
        seconds, most = 0.0, 1
    found: dict[str, list[float]] = {name: [] for name in calls}
    start = time.monotonic()
    for i in range(-2, most):
        if i >= min(3, most) and time.monotonic() - start > seconds:
            break
        for name, call in calls.items():
            elapsed = time_once(call, options)
            if i >= 0:
                found[name].append(elapsed)
    return found


def time_once(call: Callable[[], object], options: Options, count: int = 1) -> float:
    """Time `count` calls, one after the other; seconds of each."""
    if not options.on_gpu:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start_event.record()
    for _ in range(count):
        call()
    end_event.record()
    torch.cuda.synchronize()
    return start_event.elapsed_time(end_event) / 1000 / count


def peak_gib(call: Callable[[], object], options: Options) -> Optional[float]:
    """Measure the peak of GPU memory during a call, all of what torch has handed out."""
    if not options.on_gpu:
        return None
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / GIB


# c


class Run(NamedTuple):
    """What a step is measured in: batch size, type, backend of `torch.compile`, and whether beside the plain one."""

    batch: int
    dtype: str
    compile: Optional[str] = None
    plain: bool = False
    cudnn_benchmark: bool = True

    def __str__(self) -> str:
        changes = [', compiled'] * bool(self.compile) + [', without cudnn.benchmark'] * (not self.cudnn_benchmark)
        return f'batch {self.batch}, {self.dtype}{"".join(changes)}'


#: In the order of their worth.
RUNS = (
    Run(2, 'float32', plain=True),
    Run(2, 'tf32'),
    Run(2, 'bfloat16'),
    Run(4, 'float32', plain=True),
    Run(4, 'tf32'),
    Run(4, 'bfloat16'),
    Run(16, 'bfloat16'),
    Run(16, 'tf32'),
    Run(2, 'float16'),
    Run(2, 'tf32', cudnn_benchmark=False),
    Run(2, 'tf32', 'inductor'),
    Run(2, 'bfloat16', 'inductor'),
    Run(16, 'float32', plain=True),
    Run(4, 'float16'),
    Run(16, 'float16'),
    Run(16, 'bfloat16', 'inductor'),
)
QUICK_RUNS = (Run(2, 'float32', plain=True), Run(2, 'bfloat16'), Run(2, 'float32', 'eager'))


def training_step(options: Options, report: Report) -> None:
    """Compare the step with its floor and with the published arithmetic, by batch size and type."""
    for run in QUICK_RUNS if options.quick else RUNS:
        try:
            measure_step(options, report, run)
        except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
            if not run.compile and not isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            report.row('steps', run=str(run), note=f'{type(error).__name__}: {str(error)[:200]}')
        if options.on_gpu:
            torch.cuda.empty_cache()


def measure_step(options: Options, report: Report, run: Run) -> None:
    """Add a row about the step, and its parts for some."""
    config, crop = (TINY, 64) if options.quick else (CONFIG, 512)
    step = Step(config, options.device, run.batch, crop, run.dtype, run.compile)
    torch.backends.cudnn.benchmark = run.cudnn_benchmark
    start = time.monotonic()
    step.run()
    first = time.monotonic() - start
    calls: dict[str, Callable[[], object]] = {'step': step.run}
    if not run.compile:  # the floor would be compiled once more
        calls['floor'] = step.run_floor
    if run.plain:
        calls['plain'] = step.run_plain
    found = rounds_of(calls, options)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    ratios = {name: median_ratio(found['step'], found[name]) for name in calls if name != 'step'}
    hours = ITERATIONS * medians['step'] / 3600
    report.row(
        'steps',
        run=str(run),
        **{f'{name}_ms': 1000 * seconds for name, seconds in medians.items()},
        **{f'step_/_{name}': ratio for name, ratio in ratios.items()},
        images_per_s=run.batch / medians['step'],
        hours_of_20000=hours,
        peak_GiB=peak_gib(step.run, options),
        plain_peak_GiB=peak_gib(step.run_plain, options) if run.plain else None,
        first_call_s=first,
    )
    if run.plain:
        report.goal(f'step / floor, {run}', ratios['floor'], 1.10)
        report.goal(f'step / plain, {run}', ratios['plain'], 0.4)
    if run.batch == 4 and not run.compile:
        report.goal(f'hours of {ITERATIONS} iterations, {run}', hours, 1.5)
    if run in (RUNS[0], Run(16, 'bfloat16')):
        parts = step.parts(1, 1 if options.quick else 5)
        for part, seconds in parts.items():
            report.row(f'parts of a step, {run}', part=part, ms=1000 * seconds, share=seconds / sum(parts.values()))


def median_ratio(one: list[float], other: list[float]) -> float:
    """Take the ratio in each round, then its median."""
    return statistics.median(a / b for a, b in zip(one, other))


# d


def refinement(options: Options, report: Report) -> None:
    """Time PAR in each implementation, beside the bandwidth that a copy reaches."""
    bandwidth = copy_bandwidth(options)
    report.fact('bandwidth of a copy, GB/s', bandwidth / 1e9)
    size, iters = (32, 2) if options.quick else (256, 10)
    cases = [(2, 12), (2, 6), (16, 12), (2, 84)]
    for batch, channels in cases[:1] if options.quick else cases:
        measure_par(options, report, batch, channels, size, iters, bandwidth, compiled=False)
    if options.on_gpu:  # last: compiling takes long
        measure_par(options, report, *cases[0], size, iters, bandwidth, compiled=True)


def measure_par(
    options: Options,
    report: Report,
    batch: int,
    channels: int,
    size: int,
    iters: int,
    bandwidth: float,
    compiled: bool,
) -> None:
    """Add a row for each implementation, or for the compiled one."""
    image = make_scene(batch, (size, size))[0].to(options.device) / 255
    generator = torch.Generator().manual_seed(0)
    cam = smooth_noise(batch, channels, (size, size), 32, generator).sigmoid().to(options.device)
    expected = plain_par(image, cam, num_iters=iters)
    # What must move at least: weights once per iteration, scores in and out.
    moved = iters * 4 * batch * size * size * (48 + 2 * channels)
    count = 1 if options.quick else 10
    for name, call in par_calls(options, image, cam, iters, compiled).items():
        difference = float((call() - expected).abs().max())
        call()
        seconds = statistics.median(time_once(call, options, count) for _ in range(3))
        report.row(
            f'PAR {size}x{size}, {iters} iterations',
            batch=batch,
            channels=channels,
            implementation=name,
            us=1e6 * seconds,
            GB_per_s=moved / seconds / 1e9,
            of_a_copy=moved / seconds / bandwidth,
            peak_GiB=peak_gib(call, options),
        )
        report.check(f'{name}, {batch}x{channels}: difference to the plain formulation', difference, 1e-4)


def par_calls(
    options: Options, image: Tensor, cam: Tensor, iters: int, compiled: bool
) -> dict[str, Callable[[], Tensor]]:
    """List the implementations that run on the device, or the compiled one."""
    if compiled:
        function = torch.compile(par, dynamic=False)
        return {'compiled': lambda: function(image, cam, num_iters=iters, implementation='eager')}

    def with_pixels(pixels: int) -> Callable[[], Tensor]:
        def call() -> Tensor:
            before, par_triton.PIXELS = par_triton.PIXELS, pixels
            try:
                return par(image, cam, num_iters=iters, implementation='triton')
            finally:
                par_triton.PIXELS = before

        return call

    calls = {'eager': lambda: par(image, cam, num_iters=iters, implementation='eager')}
    if options.on_gpu:
        calls.update({f'triton, blocks of {pixels}': with_pixels(pixels) for pixels in (32, 64, 16)})
    calls['plain'] = lambda: plain_par(image, cam, num_iters=iters)
    return calls


def copy_bandwidth(options: Options) -> float:
    """Measure how many bytes a copy reads and writes in a second."""
    source = torch.empty(2**22 if options.quick else 2**28, device=options.device)
    target = torch.empty_like(source)
    seconds = min(time_once(lambda: target.copy_(source), options) for _ in range(5))
    return 2 * 4 * source.numel() / seconds


# e


def filters(options: Options, report: Report) -> None:
    """Compare the lattice, the CRF and the energy loss with those on the CPU, and time them on the device."""
    cpu = torch.device('cpu')
    height, width, classes, crop = (48, 64, 3, 48) if options.quick else (375, 500, 21, 512)
    image, scores = make_scene(1, (height, width), classes)
    prob = make_prob(scores)
    for name, run in (('lattice', run_lattice), ('dense CRF', run_crf)):
        expected = run(image, prob)
        inputs = [x.to(options.device) for x in (image, prob)]
        out = run(*inputs).to(cpu)
        scale = max(float(expected.abs().max()), 1e-9)
        report.check(f'{name}: difference to the CPU', float((out - expected).abs().max()) / scale, 1e-3)
        found = rounds_of({name: lambda run=run, inputs=inputs: run(*inputs)}, options, seconds=3)
        report.row('times', what=name, ms=1000 * statistics.median(found[name]))
    image, scores = make_scene(2, (crop, crop), classes)
    label = scores.argmax(1)
    label[:, : crop // 5] = 255
    expected = run_energy(make_prob(scores).log(), image, label)
    inputs = [x.to(options.device) for x in (make_prob(scores).log(), image, label)]
    found_energy = [x.to(cpu) for x in run_energy(*inputs)]
    for name, out, wanted in zip(('loss', 'gradient'), found_energy, expected):
        report.check(
            f'energy {name}: relative difference to the CPU', float((out - wanted).norm() / wanted.norm()), 1e-3
        )
    found = rounds_of({'energy': lambda: run_energy(*inputs)}, options, seconds=3)
    report.row('times', what='energy loss, forward and backward', ms=1000 * statistics.median(found['energy']))


def run_lattice(image: Tensor, prob: Tensor) -> Tensor:
    """Build the lattice of an image and filter probabilities."""
    return PermutohedralLattice(bilateral_features(image, 5.0, 64.0))(prob.flatten(2).transpose(1, 2))


def run_crf(image: Tensor, prob: Tensor) -> Tensor:
    """Run the dense CRF."""
    return dense_crf(image, prob)


def run_energy(logits: Tensor, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the energy loss and its gradient."""
    logits = logits.detach().requires_grad_()
    loss = dense_energy_loss(logits, image, label)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


# f


def prediction(options: Options, report: Report) -> None:
    """Time `predict` beside that of mmseg's SegFormer of the same size."""
    config, size = (TINY, 64) if options.quick else (CONFIG, 512)
    ours = build_segmentor(config, options.device).eval()
    plain = build_plain(config, options.device).eval()
    for batch in (1, 2) if options.quick else (1, 16):
        image = make_scene(batch, (size, size))[0].to(options.device)
        inputs = (image - ours.data_preprocessor.mean) / ours.data_preprocessor.std
        found = rounds_of({'ours': predict(ours, inputs), 'mmseg': predict(plain, inputs)}, options, most=20)
        for name, model in (('ours', ours), ("mmseg's SegFormer", plain)):
            seconds = statistics.median(found['ours' if name == 'ours' else 'mmseg'])
            report.row(
                f'predict, {size}x{size}',
                batch=batch,
                network=name,
                ms=1000 * seconds,
                images_per_s=batch / seconds,
                peak_GiB=peak_gib(predict(model, inputs), options),
            )
        report.goal(f'ours / mmseg, batch {batch}', median_ratio(found['ours'], found['mmseg']), 1.05)


def predict(model: nn.Module, inputs: Tensor) -> Callable[[], Any]:
    """Make a call of `predict`, from normalised images to label maps."""
    size = tuple(inputs.shape[-2:])

    @torch.no_grad()
    def call() -> Any:
        samples = [SegDataSample(metainfo=dict(ori_shape=size, img_shape=size)) for _ in inputs]
        return model.predict(inputs, samples)

    return call
