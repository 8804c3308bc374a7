"""tools/infer_video.py on videos, folders of frames and a camera."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.apis.video import draw_frames, infer_video
from afa_mmseg.apis.video_files import Mp4Writer, open_frames
from tests.tiny_files import SEEN, make_image, write_tiny_files
from tests.tools.toolbox import REPO


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(scope='module')
def inferencer(files):
    return WeakSegInferencer(*files, device='cpu', show_progress=False)


@pytest.fixture
def frames(tmp_path):
    """A folder as in DAVIS: an image that moves to the left."""
    folder = tmp_path / 'DAVIS/JPEGImages/480p/bear'
    folder.mkdir(parents=True)
    for i in range(6):
        cv2.imwrite(str(folder / f'{i:05d}.jpg'), moved(i))
    return folder


def moved(step):
    return np.roll(make_image(), -8 * step, axis=1)


def write_clip(path, num_frames, fps=25):
    """A video such as cameras write."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (80, 64))
    for i in range(num_frames):
        writer.write(moved(i))
    writer.release()
    return path


def read_clip(path):
    """All frames of a video, RGB, and its frames a second."""
    capture = cv2.VideoCapture(str(path))
    images = []
    while (read := capture.read())[0]:
        images.append(read[1][..., ::-1])
    return images, capture.get(cv2.CAP_PROP_FPS)


def difference(a, b):
    return np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean()


def test_a_folder_becomes_a_video_and_a_gif(inferencer, frames, tmp_path):
    outputs = [tmp_path / name for name in ('out.mp4', 'out.gif')]
    assert infer_video(inferencer, frames, outputs, [SEEN]) == (6, False)
    drawn = list(draw_frames(inferencer, open_frames(frames).images, [SEEN], 512))
    images, fps = read_clip(outputs[0])
    assert (len(images), fps) == (6, 24)
    for i, image in enumerate(images):
        even = drawn[i][: image.shape[0], : image.shape[1]]
        assert difference(image, even) < 6 < difference(image, np.roll(even, 24, axis=1))
    with Image.open(outputs[1]) as gif:
        assert (gif.n_frames, gif.info['loop'], gif.info['duration']) == (3, 0, 80)  # each second one
        assert gif.size == drawn[0].shape[1::-1]
        gif.seek(2)
        assert difference(gif.convert('RGB'), drawn[4]) < 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ['DAVIS', 'out.gif', 'out.mp4']


def test_frames_show_cam_and_segmentation_of_the_frame(inferencer):
    (drawn,) = draw_frames(inferencer, [make_image()], [SEEN], 512)
    (other,) = draw_frames(inferencer, [make_image()], ['kind4'], 512)
    (shrunk,) = draw_frames(inferencer, [make_image(640, 800)], [SEEN], 400)
    width = drawn.shape[1] // 2
    assert difference(drawn[30:200, :width], other[30:200, :width]) > 20  # the CAM
    assert np.array_equal(drawn[30:200, width:], other[30:200, width:])  # the segmentation
    assert shrunk.shape[1] == 2 * 400 + drawn.shape[1] - 2 * 240


def test_every_nth_frame_is_played_as_long_as_all(tmp_path):
    clip = write_clip(tmp_path / 'clip.mp4', 10)
    whole, third = open_frames(clip), open_frames(str(clip), every=3)
    assert (whole.fps, whole.total, third.fps, third.total) == (25, 10, pytest.approx(25 / 3), 4)
    whole, third = list(whole.images), list(third.images)
    assert (len(whole), len(third)) == (10, 4)
    assert all(np.array_equal(third[i], whole[3 * i]) for i in range(4))
    assert difference(whole[4], moved(4)) < 10 < difference(whole[4], moved(5))
    cut = open_frames(clip, max_frames=2)
    assert (cut.total, len(list(cut.images))) == (2, 2)


def test_frames_are_in_the_order_of_their_numbers_and_of_one_size(inferencer, tmp_path):
    for number, size in ((2, (64, 80)), (10, (128, 160)), (1, (64, 80))):
        cv2.imwrite(str(tmp_path / f'frame_{number}.png'), np.full((*size, 3), 20 * number, np.uint8))
    (tmp_path / '.hidden.png').write_text('no image')
    assert [image.max() for image in open_frames(tmp_path).images] == [20, 40, 200]
    sizes = {frame.shape for frame in draw_frames(inferencer, open_frames(tmp_path).images, [SEEN], 512)}
    assert len(sizes) == 1


def test_a_legend_of_changing_classes_keeps_the_size_of_the_video(inferencer):
    images = [make_image(seed=seed) for seed in range(3)]
    drawn = list(draw_frames(inferencer, images, None, 512))
    (few,) = draw_frames(inferencer, images[:1], [], 512)
    assert {frame.shape for frame in drawn} == {few.shape}
    assert all(difference(frame[-30:], 255) > 5 for frame in drawn)  # there are names


class FakeCamera:
    """A camera without end that records its settings."""

    opened, settings, released = [], {}, 0

    def __init__(self, source):
        self.opened.append(source)

    def isOpened(self):  # noqa: N802
        return True

    def set(self, name, value):
        self.settings[name] = value

    def read(self):
        return True, make_image()

    def release(self):
        FakeCamera.released += 1


def test_a_camera_is_recorded_up_to_a_number_of_frames(inferencer, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', FakeCamera)
    report = infer_video(inferencer, '0', [tmp_path / 'out.mp4'], max_frames=3)
    assert (report.num_frames, FakeCamera.opened[0]) == (3, 0)
    assert FakeCamera.settings == {cv2.CAP_PROP_BUFFERSIZE: 1}  # the newest frame
    assert open_frames(1).total is None
    monkeypatch.undo()
    assert len(read_clip(tmp_path / 'out.mp4')[0]) == 3


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_an_interrupted_video_holds_the_frames_so_far(inferencer, frames, tmp_path, monkeypatch, error):
    outputs = tmp_path / 'out.mp4', tmp_path / 'out.gif'
    forward, calls = inferencer.forward, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise error
        return forward(*args, **kwargs)

    monkeypatch.setattr(inferencer, 'forward', interrupted)
    report = infer_video(inferencer, frames, outputs)
    assert report == (4, True)
    assert len(read_clip(outputs[0])[0]) == 4
    assert Image.open(outputs[1]).n_frames == 2


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('empty', 'no frames in .*empty'),
        ('notes.mp4', 'video cannot be read: notes.mp4'),
        ('no_frames.mp4', '(no frames in|video cannot be read: ).*no_frames.mp4'),
        ('nowhere.mp4', 'not found: nowhere.mp4'),
        ('99', 'no camera with index 99'),
    ],
)
def test_a_source_without_frames_is_an_error(inferencer, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    Path('empty').mkdir()
    Path('notes.mp4').write_text('no video')
    write_clip('no_frames.mp4', 0)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        infer_video(inferencer, source, ['out.mp4'])
    assert not list(tmp_path.glob('*out*'))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(outputs=['out.avi']), r'out\.avi'),
        (dict(classes=['cat']), "unknown class 'cat'"),
        (dict(side=0), 'side=0'),
        (dict(every=0), 'every=0'),
    ],
)
def test_invalid_settings_are_errors(inferencer, frames, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        infer_video(inferencer, frames, **{'outputs': [tmp_path / 'out.mp4'], **settings})


def test_the_command(files, frames, tmp_path, monkeypatch, capsys):
    script = str(REPO / 'tools/infer_video.py')
    out, gif = str(tmp_path / 'out.mp4'), str(tmp_path / 'out.gif')
    options = ['--every', '2', '--fps', '5', '--classes', f'{SEEN},kind4', '--device', 'cpu']
    monkeypatch.setattr('sys.argv', [script, *files, str(frames), '--out', out, gif, *options])
    assert runpy.run_path(script)['main']() == 0
    images, fps = read_clip(out)
    assert (len(images), fps) == (3, 5)
    assert f'3 frames written to {out}, {gif}' in capsys.readouterr().out


def test_the_source_is_not_replaced(inferencer, tmp_path):
    clip = write_clip(tmp_path / 'clip.mp4', 3)
    before = clip.read_bytes()
    with pytest.raises(ValueError, match=r'clip\.mp4 is the input'):
        infer_video(inferencer, clip, [clip])
    assert clip.read_bytes() == before


def test_a_video_that_cannot_be_read_back_leaves_the_earlier_one(inferencer, frames, tmp_path, monkeypatch):
    (tmp_path / 'out.mp4').write_bytes(b'earlier')
    finish = Mp4Writer._open

    def cut(self, size):
        writer = finish(self, size)
        return SimpleNamespace(write=writer.write, release=lambda: (writer.release(), self.path.write_bytes(b'half')))

    monkeypatch.setattr(Mp4Writer, '_open', cut)
    with pytest.raises(OSError, match='could not be written'):
        infer_video(inferencer, frames, [tmp_path / 'out.mp4'], max_frames=2)
    assert (tmp_path / 'out.mp4').read_bytes() == b'earlier'
