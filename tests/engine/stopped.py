"""Runs in processes that are killed, and a journal of what each iteration loaded and computed."""

import json
import os
import socket
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from afa_mmseg.engine import shut_down
from tests.engine.training import train
from tests.utils.processes import SERVER, start


class Journal(Hook):
    """Writes a line for each iteration, at once: number, images, their crops, losses and learning rate."""

    priority = 'VERY_LOW'

    def __init__(self, folder):
        self.folder = Path(folder)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rate = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        batches = data_batch if isinstance(data_batch, list) else [data_batch]
        samples = [sample for batch in batches for sample in batch['data_samples']]
        line = {
            'iteration': runner.iter + 1,
            'images': [(sample.img_id, list(sample.img_box), sample.flip) for sample in samples],
            'pixels': [float(image.double().sum()) for batch in batches for image in batch['inputs']],
            'losses': {name: value.item() for name, value in outputs.items()},
            'rate': self.rate,
        }
        with journal_file(self.folder, get_rank()).open('a') as file:
            file.write(json.dumps(line) + '\n')


def journal_file(folder, rank=0):
    return Path(folder) / f'journal_{rank}.jsonl'


def read_journal(folder, rank=0):
    """The lines that were written to their end."""
    file = journal_file(folder, rank)
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith('\n')]


def start_training(data, folder, options, num_procs=1, **kwargs):
    """Start the processes of a training, with a journal; their output goes to files `output_RANK`."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    arguments = data, folder, options, num_procs, port, kwargs
    return [
        start(_train, rank, *arguments, output=folder / f'output_{rank}', context=SERVER) for rank in range(num_procs)
    ]


def finish(processes, folder, seconds=240):
    """Wait for processes that end by themselves."""
    for rank, process in enumerate(processes):
        process.join(seconds)
        assert process.exitcode == 0, (folder / f'output_{rank}').read_text()[-4000:]


def _train(rank, data, folder, options, num_procs, port, kwargs):
    distributed = num_procs > 1
    if distributed:
        names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=num_procs, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        os.environ.update({name: str(value) for name, value in names.items()})
    train(data, folder, options, 'pytorch' if distributed else 'none', hooks=[Journal(folder)], **kwargs)
    shut_down()
