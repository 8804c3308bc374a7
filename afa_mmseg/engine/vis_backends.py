"""Packages that visualization back ends need, looked for before a run begins."""

from importlib.util import find_spec

from mmengine.config import Config

#: Back ends of mmengine that import a package when they first write.
PACKAGES = dict(TensorboardVisBackend='tensorboard', WandbVisBackend='wandb')


def check_vis_backends(cfg: Config) -> None:
    """Refuse a visualizer that would write to what is not installed.

    Raises:
        ValueError: A package is missing.
    """
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or ():
        package = PACKAGES.get(backend.get('type'))
        if package is not None and find_spec(package) is None:
            raise ValueError(
                f'{backend.type} in visualizer.vis_backends needs the package {package}, which is not installed: '
                f'pip install {package}, or take it out of the list'
            )
