"""Show CAM and segmentation of a video side by side, as a video.

python tools/infer_video.py CONFIG CHECKPOINT clip.mp4 --out out.mp4 --gif out.gif
python tools/infer_video.py CONFIG CHECKPOINT DAVIS/JPEGImages/480p/bear --out bear.mp4 --classes bear
python tools/infer_video.py CONFIG CHECKPOINT 0 --out camera.mp4                     the first camera, until Ctrl-C

Memory does not grow with the length of the video. Ctrl-C ends it early: the file then holds the frames that were done.
"""

import argparse
import os
import sys

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.apis.video import infer_video
from afa_mmseg.utils import run_command

INTERRUPTED = 130


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of that config')
    parser.add_argument('source', metavar='VIDEO', help='video file, folder of frames, or number of a camera')
    parser.add_argument('--out', metavar='FILE.mp4', required=True, help='video to write')
    parser.add_argument('--gif', metavar='FILE.gif', help='the same as GIF: ten frames a second, 640 pixels wide')
    parser.add_argument(
        '--classes',
        type=lambda text: [name.strip() for name in text.split(',') if name.strip()],
        help='what the video shows: cat,dog (default: the classifier decides for each frame)',
    )
    parser.add_argument('--fps', type=float, help="frames a second (default: the video's own; folder 24, camera 10)")
    parser.add_argument('--every', type=int, default=1, metavar='N', help='take each N-th frame (default: %(default)s)')
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after N frames')
    parser.add_argument(
        '--side', type=int, default=512, help='longer side to which frames are made smaller (default: %(default)s)'
    )
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU, if there is one)')
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    inferencer = WeakSegInferencer(args.config, args.checkpoint, device=args.device, show_progress=False)
    report = infer_video(
        inferencer,
        args.source,
        args.out,
        args.gif,
        args.classes,
        fps=args.fps,
        every=args.every,
        max_frames=args.max_frames,
        side=args.side,
    )
    for path in filter(None, (args.out, args.gif)):
        print(f'{path}: {os.path.getsize(path) / 1e6:.1f} MB')
    print(f'{report.num_frames} frames')
    if report.interrupted:
        print('infer_video.py: interrupted; the frames until then are in the file', file=sys.stderr)
    return INTERRUPTED if report.interrupted else 0


if __name__ == '__main__':
    run_command(main)
