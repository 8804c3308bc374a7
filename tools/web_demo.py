"""Serve a page that shows the steps of a trained segmentor on uploaded images.

python tools/web_demo.py CONFIG CHECKPOINT [--examples DIR]
"""

import argparse
import os
from typing import Optional

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.engine.options import load_config, require_file
from afa_mmseg.utils import run_command
from afa_mmseg.utils.checks import import_extra
from afa_mmseg.web.examples import find_examples
from afa_mmseg.web.uploads import Limits

# No telemetry.
os.environ.update(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1')


def parse_args(arguments: Optional[list[str]] = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Serve a page on this machine: drop an image, choose classes, and see CAM, propagated CAM, '
        'pseudo-label and prediction; click a pixel to see its affinity. Nothing leaves the machine.'
    )
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--examples', metavar='DIR', help="images to choose from (default: some of the config's validation set)"
    )
    parser.add_argument('--port', type=int, default=7860, help='default: %(default)s')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; 0.0.0.0 admits all who reach this machine (default: %(default)s)',
    )
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU, if available)')
    limits = Limits()
    parser.add_argument('--max-mb', type=float, default=limits.max_mb, help='size of an upload (default: %(default)s)')
    parser.add_argument(
        '--max-pixels', type=int, default=limits.max_pixels, help='width times height (default: %(default)s)'
    )
    parser.add_argument(
        '--max-side',
        type=int,
        default=limits.max_side,
        help='larger images are downscaled for the network; time and memory grow fast (default: %(default)s)',
    )
    parser.add_argument(
        '--max-visitors', type=int, default=limits.max_visitors, help='sessions kept in memory (default: %(default)s)'
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Run the command."""
    args = parse_args()
    limits = Limits(args.max_mb, args.max_pixels, args.max_side, args.max_visitors)
    limits.check()
    cfg = load_config(args.config)
    require_file(args.checkpoint, 'checkpoint')
    import_extra('gradio', 'demo')
    from afa_mmseg.web.page import build_page
    from afa_mmseg.web.server import LOOPBACK, build_app, listen, make_server, private_files

    with listen(args.host, args.port) as place, private_files():
        inferencer = WeakSegInferencer(cfg, args.checkpoint, device=args.device, show_progress=False)
        page = build_page(inferencer, find_examples(cfg, args.examples), limits)
        host, port = place.getsockname()[:2]
        print(f'open http://{f"[{host}]" if ":" in host else host}:{port} in a browser; Ctrl-C ends', flush=True)
        if args.host not in LOOPBACK:
            print('all who reach this machine can use the page', flush=True)
        try:
            make_server(build_app(page, limits, args.host)).run(sockets=[place])
        except KeyboardInterrupt:
            print('stopped')


if __name__ == '__main__':
    run_command(main)
