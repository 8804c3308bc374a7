"""A tiny network in files, a page of it on a port of its own, and a browser."""

import contextlib
import shutil
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer
from afa_mmseg.web.page import build_page
from afa_mmseg.web.server import build_app, listen, make_server, private_files
from afa_mmseg.web.uploads import Limits
from tests.tiny_files import PALETTE, make_image, write_tiny_files

#: Names in several scripts, and one that looks like HTML.
CLASSES = ('background', '<i>cat</i>', 'собака', '猫', *(f'class {i}' for i in range(4, 21)))
LIMITS = Limits(max_mb=0.5, max_pixels=200_000, max_side=160, max_visitors=1)


@pytest.fixture(scope='session')
def inferencer(tmp_path_factory):
    """The golden tiny network through the Python API."""
    files = write_tiny_files(tmp_path_factory.mktemp('tiny'))
    return WeakSegInferencer(*files, CLASSES, PALETTE, device='cpu', show_progress=False)


@pytest.fixture(scope='session')
def examples(tmp_path_factory):
    """Two example images."""
    folder = tmp_path_factory.mktemp('examples')
    for i in range(2):
        Image.fromarray(make_image(80, 96, seed=10 + i)).save(folder / f'example_{i}.png')
    return sorted(folder.iterdir())


@contextlib.contextmanager
def serve(inferencer, examples, limits=LIMITS):
    """Run the page in a thread; yield its address."""
    with listen('127.0.0.1', 0) as place, private_files():
        server = make_server(build_app(build_page(inferencer, examples, limits), limits, '127.0.0.1'))
        thread = threading.Thread(target=server.run, kwargs=dict(sockets=[place]))
        thread.start()
        try:
            yield f'http://127.0.0.1:{place.getsockname()[1]}'
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope='module')
def address(inferencer, examples):
    """Address of a page with low limits; Pillow's limit of pixels is restored."""
    before = Image.MAX_IMAGE_PIXELS
    with serve(inferencer, examples) as address:
        yield address
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture(scope='module')
def chromium():
    """A headless browser: Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    found = [path for name in ('chromium', 'chromium-browser', 'google-chrome') if (path := shutil.which(name))]
    assert found, "no Chromium: apt-get install chromium, or leave these tests out: pytest -m 'not browser'"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=['--no-sandbox'])
        yield browser
        browser.close()


CONNECTIONS = []  # addresses that this process connected to, and names that it looked up


def _note_connection(event, arguments):
    if event == 'socket.connect':
        CONNECTIONS.append(arguments[1])
    elif event == 'socket.getaddrinfo':
        CONNECTIONS.append(arguments[:2])


@pytest.fixture(scope='module')
def connections():
    """Addresses that this process connects to, from the first test of the module on."""
    sys.addaudithook(_note_connection)
    CONNECTIONS.clear()
    return CONNECTIONS


@pytest.fixture
def image_file(tmp_path):
    """Write an image; return its path."""

    def write(pixels, name='image.png', **options) -> Path:
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write
