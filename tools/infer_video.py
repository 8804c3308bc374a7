"""Show CAM and segmentation of a video side by side.

python tools/infer_video.py CONFIG CHECKPOINT clip.mp4 --out out.mp4 out.gif
python tools/infer_video.py CONFIG CHECKPOINT DAVIS/JPEGImages/480p/bear --out bear.mp4 --classes bear
python tools/infer_video.py CONFIG CHECKPOINT 0 --out camera.mp4                     the first camera, until Ctrl-C

Ctrl-C ends any video early; the files then hold the frames so far.
"""

import argparse
import sys

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.apis.video import infer_video
from afa_mmseg.utils import comma_separated, run_command

INTERRUPTED = 130


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of that config')
    parser.add_argument('source', metavar='VIDEO', help='video file, folder of frames, or index of a camera')
    parser.add_argument(
        '--out',
        metavar='FILE',
        nargs='+',
        required=True,
        help='.mp4 or .gif (10 frames per second, 640 pixels wide); several are possible',
    )
    parser.add_argument(
        '--classes',
        type=comma_separated,
        help='classes in all frames: cat,dog (default: decided by the classifier for each frame)',
    )
    parser.add_argument('--fps', type=float, help='frames per second (default: of the video; folder 24, camera 10)')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='keep each N-th frame (default: %(default)s)')
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after N frames')
    parser.add_argument(
        '--side',
        type=int,
        default=512,
        help='longer side of a frame; larger ones are downscaled (default: %(default)s)',
    )
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU, if available)')
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    inferencer = WeakSegInferencer(args.config, args.checkpoint, device=args.device, show_progress=False)
    options = dict(fps=args.fps, every=args.every, max_frames=args.max_frames, side=args.side)
    report = infer_video(inferencer, args.source, args.out, args.classes, **options)
    print(f'{report.num_frames} frames written to {", ".join(args.out)}')
    if report.interrupted:
        print('infer_video.py: interrupted; the frames so far are kept', file=sys.stderr)
    return INTERRUPTED if report.interrupted else 0


if __name__ == '__main__':
    run_command(main)
