"""Everything that must be known of a GPU, in one command and nine minutes: exactness, speed, faults, learning.

    python benchmarks/gpu_suite.py --out results

Parts run in the order of their worth, each in a process and a time box of its own. OUT/results.json and
OUT/results.md are written after each part; OUT/part_*.log holds what a part printed.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

# mmengine asks for GPUs when it is imported; asked this way, CUDA stays untouched and processes can be forked.
os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')

import torch
from _environment import ROOT, command_line, describe, keep_memory
from _suite import Options, Part, Report, run_part, to_markdown

sys.path.insert(0, str(ROOT))

import _suite_exact as exact  # noqa: E402
import _suite_runs as runs  # noqa: E402
import _suite_speed as speed  # noqa: E402


def set_up(options: Options, report: Report) -> None:
    """Record the machine and build a model on the device: what fails here fails everywhere."""
    if options.on_gpu and not torch.cuda.is_available():
        raise RuntimeError('torch finds no GPU: use --device cpu')
    report.content['record'] = describe(options.device)
    report.fact('GPUs', torch.cuda.device_count())
    report.fact('processes', f'started by {options.start_method}')
    report.fact('parameters of the tiny network', speed.count_parameters(options))


PARTS = (
    Part('0', 'Environment', set_up, 30),
    Part('a', 'Goldens and trajectories', exact.goldens_and_trajectories, 60),
    Part('b', 'A step that never waits for the host', exact.synchronisation, 20),
    Part('c', 'Training step', speed.training_step, 170),
    Part('d', 'PAR', speed.refinement, 40),
    Part('e', 'Lattice, CRF and energy loss', speed.filters, 30),
    Part('f', 'Prediction', speed.prediction, 40),
    Part('g', 'Two processes', runs.two_processes, 40),
    Part('h', 'Killed and resumed', runs.killed_and_resumed, 50),
    Part('i', 'Learning', runs.learning, 60),
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--minutes', type=float, default=9, help='for everything (default: %(default)s)')
    parser.add_argument('--quick', action='store_true', help='toy sizes: does everything run?')
    parser.add_argument('--parts', nargs='+', choices=[part.letter for part in PARTS], help='only these (default: all)')
    parser.add_argument('--data', type=Path, metavar='DIR', help='the VOC-Animals data set, to train on it too')
    parser.add_argument('--goldens', type=Path, metavar='DIR', help='golden files beyond those of tests/data')
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='of the results')
    parser.add_argument('--fail', nargs='+', default=[], help=argparse.SUPPRESS)  # parts that raise, for tests
    args = parser.parse_args()
    if args.minutes <= 0:
        parser.error(f'--minutes must be positive, got {args.minutes}')
    for name in ('data', 'goldens'):
        folder = getattr(args, name)
        if folder is not None and not folder.is_dir():
            parser.error(f'--{name}: no such folder: {folder}')
    return args


def run_all(args: argparse.Namespace, start: float) -> dict[str, Any]:
    """Run the parts; time that one leaves goes to those after it, and the last one has all that is left."""
    end = start + 60 * args.minutes
    data, goldens = (folder and folder.resolve() for folder in (args.data, args.goldens))
    options = Options(torch.device(args.device), args.quick, args.out.resolve(), data, goldens, end)
    parts = [part for part in PARTS if part.letter == '0' or part.letter in (args.parts or [p.letter for p in PARTS])]
    document: dict[str, Any] = dict(command=command_line(), record={}, parts=[])
    spare = -(time.monotonic() - start)  # imports
    for part in parts:
        left, share = end - time.monotonic(), part.seconds * args.minutes / 9
        box = left if part is parts[-1] else min(left, share + max(spare, 0))
        if box < 5:
            content = dict(part=part.letter, title=part.title, status='skipped: no time left', facts={}, tables={})
        else:
            print(f'{part.letter}. {part.title}: up to {box:.0f} s ...', file=sys.stderr, flush=True)
            content = run_part(part, options, box, fails=part.letter in args.fail)
            if part is parts[0] and options.on_gpu and content['status'] != 'ok':
                options = replace(options, start_method='spawn')  # slower: each part imports everything
                content = run_part(part, options, box)
            spare += share - content['seconds']
        document['record'].update(content.pop('record', {}))
        document['parts'].append(content)
        document['seconds'] = round(time.monotonic() - start)
        (args.out / 'results.json').write_text(json.dumps(document, indent=1) + '\n')
        (args.out / 'results.md').write_text(to_markdown(document))
        print(f'   {content["status"]}', file=sys.stderr, flush=True)
    return document


def main() -> int:
    """Run the suite; 0 where every part is ok."""
    start = time.monotonic()
    args = parse()
    if args.device == 'cpu':
        keep_memory()
    args.out.mkdir(parents=True, exist_ok=True)
    document = run_all(args, start)
    print(f'{args.out}/results.md and results.json, {document["seconds"]} s')
    return 0 if all(part['status'] == 'ok' for part in document['parts']) else 1


if __name__ == '__main__':
    sys.exit(main())
