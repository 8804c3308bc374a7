"""tools/web_demo.py as a user runs it."""

import re
import runpy
import signal
import subprocess
import sys
import urllib.request

import pytest
from PIL import Image

from tests.tiny_files import make_image, write_tiny_files
from tests.tools.toolbox import REPO, tool_environment

SCRIPT = REPO / 'tools/web_demo.py'


@pytest.fixture(scope='module')
def tiny_files(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run the script in this process; return its error message, without the warnings before."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(SCRIPT), *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                runpy.run_path(str(SCRIPT), run_name='__main__')
        finally:
            signal.signal(signal.SIGTERM, before)
        assert end.value.code == 1
        error = capsys.readouterr().err
        assert 'Traceback' not in error
        return error[error.index('web_demo.py: error: ') :].rstrip()

    return run


@pytest.mark.slow
def test_it_serves_until_ctrl_c_and_leaves_nothing(tiny_files, tmp_path):
    Image.fromarray(make_image(80, 96)).save(tmp_path / 'example.png')
    command = [sys.executable, str(SCRIPT), *tiny_files, '--port', '0', '--examples', str(tmp_path)]
    environment = tool_environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.match(r'open (http://127\.0\.0\.1:\d+) in a browser; Ctrl-C ends', line):
                break
        else:
            raise AssertionError(''.join(lines))
        with urllib.request.urlopen(found[1], timeout=60) as response:
            assert b'What the network sees' in response.read()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0, rest
    assert rest == 'stopped\n'
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith('afa-web-')] == []


def test_missing_files_are_named(fails, tiny_files, tmp_path):
    assert fails(tiny_files[0], 'no.pth') == 'web_demo.py: error: checkpoint not found: no.pth'
    assert 'no-such' in fails(*tiny_files, '--port', 0, '--examples', tmp_path / 'no-such')
    assert '--max-side is 0: use a positive number' in fails(*tiny_files, '--max-side', 0)


def test_gradio_missing_is_one_line(fails, tiny_files, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert fails(*tiny_files) == 'web_demo.py: error: gradio is not installed: pip install "afa-mmseg[demo]"'
