"""The page as a visitor uses it, in headless Chromium; its numbers and pixels are those of the Python API."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.visualization.overlays import mark_point, overlay_heat
from afa_mmseg.web.visit import look_at
from tests.tiny_files import make_image
from tests.web.conftest import CLASSES, LIMITS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HEIGHT, WIDTH = 80, 112
TILES = ('cam', 'propagated', 'refined', 'prediction')
#: Milliseconds to wait for anything on the page.
PATIENCE = 60_000


class Visitor:
    """A visitor of the page."""

    def __init__(self, page, address):
        self.page = page
        self.requests, self.complaints = [], []
        page.set_default_timeout(PATIENCE)
        page.on('request', lambda request: self.requests.append(request.url))
        page.on('pageerror', lambda error: self.complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector('#upload input[type=file]', state='attached')

    def drop(self, path):
        self.page.set_input_files('#upload input[type=file]', str(path))

    def pixels(self, name):
        """Return the pixels of an <img>; RGB."""
        response = self.page.request.get(self.page.locator(f'{name} img').first.get_attribute('src'))
        assert response.ok
        return np.asarray(Image.open(io.BytesIO(response.body())).convert('RGB'))

    def sees(self, name, expected):
        """Wait until an image is the expected one, pixel for pixel."""
        self.page.wait_for_selector(f'{name} img')
        end = time.monotonic() + PATIENCE / 1000
        while not np.array_equal(seen := self.pixels(name), expected):
            assert time.monotonic() < end, f'{name} differs by {np.abs(seen.astype(int) - expected).mean()}'
            time.sleep(0.1)

    def sees_stages(self, stages):
        for tile, expected in zip(TILES, stages):
            self.sees(f'#tile-{tile}', expected)

    def ticked(self):
        return {box.evaluate('box => box.name || box.value') for box in self.boxes().all() if box.is_checked()}

    def boxes(self):
        return self.page.locator('#classes input[type=checkbox]')

    def tick(self, name):
        self.page.locator('#classes label', has_text=name).click()

    def slide_to(self, score):
        """Move the slider by the keyboard."""
        slider = self.page.locator('#background input[type=range]')
        slider.focus()
        steps = round((score - float(slider.input_value())) / 0.01)
        for _ in range(abs(steps)):
            self.page.keyboard.press('ArrowRight' if steps > 0 else 'ArrowLeft')
        assert float(slider.input_value()) == pytest.approx(score)

    def click(self, name, row, column, height=HEIGHT, width=WIDTH):
        """Click the middle of a pixel of an image of this size."""
        image = self.page.locator(f'{name} img').first
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        image.click(position=dict(x=(column + 0.5) / width * box['width'], y=(row + 0.5) / height * box['height']))

    def numbers(self):
        """Download the drawn numbers."""
        with self.page.expect_download() as download:
            self.page.locator('#numbers').click()
        with np.load(download.value.path()) as file:
            return dict(file)


@pytest.fixture(scope='module')
def window(chromium):
    """One window for all tests: scripts are loaded once."""
    return chromium.new_context(viewport=dict(width=1280, height=900))


@pytest.fixture
def visitor(window, address, connections):
    """A new visitor; no request may have gone to other machines."""
    visitor = Visitor(window.new_page(), address)
    yield visitor
    visitor.page.close()
    assert visitor.complaints == []
    strangers = [url for url in visitor.requests if not url.startswith((address, 'data:', 'blob:'))]
    assert strangers == []
    assert len(visitor.requests) > 10
    hosts = {target[0] for target in connections if isinstance(target, tuple) and target[0] is not None}
    assert hosts <= {'127.0.0.1', 'localhost', '::1'}


@pytest.fixture
def visit(inferencer):
    """The results of the Python API for the image that visitors drop."""
    return look_at(inferencer, make_image(HEIGHT, WIDTH))


@pytest.fixture
def own_file(image_file):
    return image_file(make_image(HEIGHT, WIDTH))


def test_a_visit(visitor, visit, inferencer, own_file):
    visitor.drop(own_file)
    visitor.sees_stages(visit.stages(0.35))
    own = {inferencer.class_names[i] for i in visit.own_classes}
    assert visitor.ticked() == own

    name = next(name for name in ('猫', 'class 7') if name not in own)
    visitor.tick(name)
    chosen = visit.with_classes([*visit.own_classes, inferencer.class_names.index(name)])
    visitor.sees_stages(chosen.stages(0.35))
    assert not np.array_equal(chosen.stages(0.35).cam, visit.stages(0.35).cam)
    assert name in visitor.page.locator('#legend').inner_text()

    visitor.slide_to(0.55)
    visitor.sees_stages(chosen.stages(0.55))
    assert not np.array_equal(chosen.stages(0.55).propagated, chosen.stages(0.35).propagated)

    row, column = 23, 90
    visitor.click('#tile-refined', row, column)
    visitor.page.wait_for_selector('#affinity img')
    numbers = visitor.numbers()
    explanation = inferencer.explain(np.ascontiguousarray(visit.image[..., ::-1]))
    assert numbers['point'].tolist() == [row, column]
    assert numbers['cell'] == explanation.cell_of(row, column)
    # The same computation in another thread: rounding may differ.
    expected = explanation.plain.affinity[0, explanation.cell_of(row, column)].reshape(5, 7).numpy()
    np.testing.assert_allclose(numbers['affinity'], expected, rtol=1e-5)
    np.testing.assert_allclose(numbers['attention'], explanation.attention_of(row, column), rtol=1e-5)
    k = visit.enlargement
    centre = (int((row + 0.5) * k), int((column + 0.5) * k))
    visitor.sees('#affinity', mark_point(overlay_heat(visit.canvas, expected), *centre))
    assert len(np.unique(overlay_heat(visit.canvas, expected))) > 50  # not flat
    heads = visitor.page.locator('#heads button img')
    assert heads.count() == len(numbers['attention'])
    visitor.sees(
        '#heads', mark_point(overlay_heat(visit.canvas, explanation.attention_of(row, column)[0].numpy()), *centre)
    )

    visitor.page.locator('#own').click()
    visitor.sees_stages(visit.stages(0.55))
    assert visitor.ticked() == own


def test_an_example_and_a_fresh_start(visitor, inferencer):
    visitor.page.locator('.gallery-item').nth(1).click()
    visitor.sees_stages(look_at(inferencer, make_image(80, 96, seed=11)).stages(0.35))
    visitor.page.locator('#upload [aria-label="Remove Image"], #upload [aria-label="Clear"]').first.click()
    visitor.page.wait_for_selector('#tile-cam img', state='detached')
    assert visitor.boxes().count() == 0
    assert 'Drop an image' in visitor.page.locator('#legend').inner_text()


def test_a_turned_and_large_photograph(visitor, inferencer, image_file):
    photograph = make_image(320, 224)
    exif = Image.Exif()
    exif[0x0112] = 6
    visitor.drop(image_file(np.rot90(photograph), 'turned.jpg', exif=exif))
    visitor.page.wait_for_selector('#tile-prediction img')
    assert '112 × 160 for the network' in visitor.page.locator('#note').inner_text()
    assert visitor.pixels('#tile-cam').shape == (160 * 4, 112 * 4, 3)
    visitor.click('#tile-cam', 150, 20, 160, 112)
    visitor.page.wait_for_selector('#affinity img')
    row, column = visitor.numbers()['point']
    assert (row, column) == (150, 20)
    assert CLASSES[1] in visitor.page.locator('#classes').inner_text()  # '<i>cat</i>' is text


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('pixels.png', None, 'too many pixels; the limit is 200,000'),
        ('bytes.png', b'x' * (LIMITS.max_bytes + 1), 'maximum'),
    ],
)
def test_files_that_cannot_be_shown_are_refused_with_a_reason(visitor, image_file, tmp_path, name, content, message):
    if content is None:
        image_file(np.zeros((400, 600, 3), np.uint8), name)
    else:
        (tmp_path / name).write_bytes(content)
    visitor.drop(tmp_path / name)
    shown = visitor.page.locator('.problem, .toast-body').first
    shown.wait_for()
    assert message in shown.inner_text().lower()
    assert visitor.page.locator('#tile-cam img').count() == 0


def test_the_page_forgets_who_was_idle_for_longest(window, address, own_file):
    visitors = [Visitor(window.new_page(), address) for _ in range(LIMITS.max_visitors + 1)]
    for visitor in visitors:
        visitor.drop(own_file)
        visitor.page.wait_for_selector('#tile-prediction img')
    visitors[-1].click('#tile-cam', 10, 10)
    visitors[-1].page.wait_for_selector('#affinity img')
    visitors[0].page.bring_to_front()
    visitors[0].click('#tile-cam', 10, 10)
    toast = visitors[0].page.locator('.toast-body').first
    toast.wait_for()
    assert 'drop it again' in toast.inner_text()
    for visitor in visitors:
        visitor.page.close()
