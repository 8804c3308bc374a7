"""Atomic checkpoints: written under a temporary name, synced, renamed; older ones are deleted last."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Union

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

from ..utils import atomic_path, remove_leftovers, write_text

#: Name of the file backend, registered with mmengine.
ATOMIC = 'atomic'


class AtomicBackend(LocalBackend):
    """Local files that are renamed to their name once they are complete and on the disk."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a file, and sync its folder for a power failure where the platform supports it."""
        path = Path(filepath)
        with atomic_path(path) as temporary, temporary.open('wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


register_backend(ATOMIC, AtomicBackend, force=True)  # `force` for reloads of this module alone


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook`, safe against kills and full disks at any moment.

    A checkpoint is renamed to its name when it is complete, then `last_checkpoint` names it, and only then are older
    ones deleted; mmengine's hook deletes first and writes in place. This requires room for one checkpoint more than
    `max_keep_ckpts`. Files elsewhere (`s3://`, given `backend_args`) are written as their backend does.

    Raises:
        OSError: A checkpoint cannot be written, as on a full disk; the one before it is untouched.
    """

    backend_args: Any
    file_backend: Any

    def before_train(self, runner: Any) -> None:
        folder = self.out_dir or runner.work_dir
        local = isinstance(get_file_backend(folder, backend_args=self.backend_args), LocalBackend)
        if local and not self.backend_args and self.file_client_args is None:
            self.backend_args = dict(backend=ATOMIC)
        super().before_train(runner)
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')  # of a resumed run
        if local and is_main_process():
            remove_leftovers(self.out_dir)

    def save_now(self, runner: Any) -> str:
        """Save between two iterations and return the path of the file."""
        self._save_checkpoint_with_step(runner, runner.iter, dict(epoch=runner.epoch, iter=runner.iter))
        return str(self.last_ckpt)

    # This and `_save_best_checkpoint` are private in mmengine's hook, and the only ones that delete and write.
    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        before, outdated = self.last_ckpt, self._make_room(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        parts = dict(save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler)
        target = dict(file_client_args=self.file_client_args, backend_args=self.backend_args)
        try:
            runner.save_checkpoint(
                self.out_dir, name, **target, **parts, meta=meta, by_epoch=self.by_epoch, **self.args
            )
            if is_main_process():
                write_text(Path(runner.work_dir, 'last_checkpoint'), self.last_ckpt)
        except OSError as error:
            kept = f'{before} is untouched' if before else 'it would have been the first'
            raise OSError(
                f'the checkpoint {self.last_ckpt} cannot be written ({error.strerror or error}); {kept}.\n'
                '  Make room, or set `default_hooks.checkpoint.out_dir`; then --resume continues.'
            ) from error
        self._remove(self.file_backend, outdated)

    def _make_room(self, runner: Any, step: int) -> list[str]:
        """Add the new checkpoint to those to keep; return the files to delete."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        full = len(self.keep_ckpt_ids) == self.max_keep_ckpts
        outdated = [self.keep_ckpt_ids.popleft()] if full else []
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return [self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)) for old in outdated]

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        backend = self.file_backend
        self.file_backend = late = _LateRemoval(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)  # mmengine's, without a public name
        finally:
            self.file_backend = backend
        written = (getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values())
        self._remove(backend, [path for path in late.removed if path not in written])

    @staticmethod
    def _remove(backend: Any, paths: list[str]) -> None:
        for path in paths if is_main_process() else []:
            if backend.isfile(path):
                backend.remove(path)


class _LateRemoval:
    """A file backend that records what to remove instead of removing it."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.removed: list[str] = []

    def remove(self, path: str) -> None:
        self.removed.append(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
