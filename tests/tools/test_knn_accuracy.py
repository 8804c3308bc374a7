"""knn_accuracy.py on a made-up folder."""

import numpy as np
from PIL import Image

from tests.tools.toolbox import run_tool


def test_colours_are_separated_by_random_weights(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (tmp_path / name).mkdir()
    for i in range(12):
        colour = [(230, 20, 20), (20, 20, 230)][i % 2]
        pixels = np.clip(np.array(colour) + rng.normal(0, 10, (40, 50, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{i}.jpg')
        Image.fromarray(np.full((40, 50), i % 2 + 1, np.uint8)).save(tmp_path / f'masks/{i}.png')
    (tmp_path / 'train.txt').write_text(''.join(f'{i}\n' for i in range(8)))
    (tmp_path / 'val.txt').write_text(''.join(f'{i}\n' for i in range(8, 12)))
    output = run_tool('analysis_tools/knn_accuracy.py', '.', '--size', 64, '-k', 3, cwd=tmp_path).stdout
    assert '3-NN accuracy: 1.000 (8 reference, 4 query images, 64 px)' in output
    Image.new('L', (50, 40)).save(tmp_path / 'masks/9.png')
    failed = run_tool('analysis_tools/knn_accuracy.py', '.', '--size', 64, cwd=tmp_path, check=False)
    assert "'9': masks without a class" in failed.stdout
