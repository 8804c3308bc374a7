"""Calls and commands that are to be refused.

The message must hold certain words: what is wrong, where, and the remedy.
"""

import runpy
import signal
import sys

import pytest

from tests.tools.toolbox import REPO


def refused(function, *arguments, words, errors=(ValueError, FileNotFoundError), **settings):
    """Check that a call is refused, in words."""
    with pytest.raises(errors) as error:
        function(*arguments, **settings)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


def refuse_command(monkeypatch, capsys, script, *arguments):
    """Run a script of ``tools/`` in this process, check that it fails, and return its output and message."""
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setattr(signal, 'signal', lambda *_: None)  # the handlers of this process stay
    monkeypatch.setattr(sys, 'argv', [str(REPO / 'tools' / script), *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name='__main__')
    assert end.value.code not in (0, None)
    output = capsys.readouterr()
    return f'{output.out}{output.err}{end.value.code}'
