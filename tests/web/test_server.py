"""Requests that the server refuses: files of the machine, files of other servers, large requests, other hosts."""

import contextlib
import http.client
import json
import uuid
from urllib.parse import quote, urlsplit

import pytest

from afa_mmseg.web.server import listen
from tests.web.conftest import LIMITS

BOUNDARY = 'boundary'


def request(address, method, path, body=None, **headers):
    """Send one request; return status and body."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request(method, path, body, {name.replace('_', '-'): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def upload(address, data, **headers):
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
    body = head.encode() + data + f'\r\n--{BOUNDARY}--\r\n'.encode()
    kind = f'multipart/form-data; boundary={BOUNDARY}'
    if headers.pop('chunked', False):
        body = iter([body[i : i + 65536] for i in range(0, len(body), 65536)])
    return request(address, 'POST', '/gradio_api/upload', body, Content_Type=kind, **headers)


def look_request(address, path, session='nobody'):
    """Return the request of the page's script for the steps of an image."""
    _, page = request(address, 'GET', '/config')
    look = next(event for event in json.loads(page)['dependencies'] if event['targets'][0][1] == 'change')
    file = dict(path=str(path), url=None, orig_name='x.png', meta=dict(_type='gradio.FileData'))
    return json.dumps(dict(data=[file, 0.5], fn_index=look['id'], session_hash=session, event_data=None))


def ask(address, path):
    """Request the steps of an image by its file; return the answer."""
    session = uuid.uuid4().hex
    body = look_request(address, path, session)
    status, _ = request(address, 'POST', '/gradio_api/queue/join', body, Content_Type='application/json')
    assert status == 200
    _, events = request(address, 'GET', f'/gradio_api/queue/data?session_hash={session}')
    messages = [json.loads(line[6:]) for line in events.decode().splitlines() if line.startswith('data: ')]
    return next(message for message in messages if message['msg'] == 'process_completed')


def test_the_page_explains_an_upload(address, examples):
    status, page = request(address, 'GET', '/')
    assert status == 200
    assert b'What the network sees' in page
    status, names = upload(address, examples[0].read_bytes())
    assert status == 200
    assert ask(address, json.loads(names)[0])['success']


def test_files_of_the_machine_cannot_be_read(address, examples, tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(examples[0].read_bytes())
    folder = json.loads(upload(address, b'x')[1])[0].rsplit('/', 2)[0]
    for path in (
        secret,
        '/etc/passwd',
        f'{folder}/../../etc/passwd',
        f'{folder}/../{secret.name}',
        examples[0],
        __file__,
    ):
        assert request(address, 'GET', f'/gradio_api/file={quote(str(path))}')[0] == 403, path
    for path in ('/static/../../../../etc/passwd', '/assets/%2e%2e/%2e%2e/%2e%2e/routes.py'):
        assert request(address, 'GET', path)[0] in (403, 404)


def test_the_network_runs_on_uploads_and_examples_only(address, examples, tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(examples[0].read_bytes())
    for path in (secret, '/etc/passwd', 'http://127.0.0.1:9/x.png', 'https://example.com/x.png'):
        answer = ask(address, path)
        assert not answer['success'], path
        assert (
            'only uploaded images and examples' in answer['output']['error']
            or 'Cannot move' in answer['output']['error']
        )


@pytest.mark.parametrize(
    'path',
    [
        '/gradio_api/file=http://127.0.0.1:9/x', '/gradio_api/file=https%3A//example.com/x', '/gradio_api/info',
        '/gradio_api/proxy=http://127.0.0.1:9/x', '/gradio_api/call/look', '/gradio_api/process_recording', '/docs',
        '/monitoring', '/gradio_api/openapi.json', '/openapi.json', '/gradio_api/vibe-code', '/gradio_api/runs',
    ],
)  # fmt: skip
def test_other_paths_are_not_found(address, path):
    assert [request(address, method, path)[0] for method in ('GET', 'POST')] == [404, 404]


def test_requests_outside_the_queue_are_refused(address, examples):
    _, names = upload(address, examples[0].read_bytes())
    body = look_request(address, json.loads(names)[0])
    status, answer = request(address, 'POST', '/gradio_api/run/predict', body, Content_Type='application/json')
    assert (status, b'Please join the queue' in answer) == (404, True)


def test_other_hosts_are_refused(address):
    """A page of another site whose name points to this machine (DNS rebinding) is refused."""
    assert request(address, 'GET', '/', Host='evil.example')[0] == 400
    assert request(address, 'GET', '/', Host='localhost')[0] == 200


def test_large_uploads_and_those_of_unknown_length_are_refused(address):
    fits, large = b'x' * (LIMITS.max_bytes - 1), b'x' * (LIMITS.max_bytes * 4)
    assert upload(address, fits)[0] == 200
    assert upload(address, fits, chunked=True)[0] == 411
    assert upload(address, b'', Content_Length=str(10**9))[0] == 413
    assert request(address, 'POST', '/gradio_api/queue/join', b' ' * 600_000, Content_Type='application/json')[0] == 413
    with contextlib.suppress(ConnectionError):  # the server may close the connection early
        assert upload(address, large)[0] == 413


def test_a_port_in_use_is_one_line_with_a_remedy():
    with listen('127.0.0.1', 0) as place:
        port = place.getsockname()[1]
        with pytest.raises(ValueError, match=f'127.0.0.1, port {port}: .*--port'):
            listen('127.0.0.1', port)
    with pytest.raises(ValueError, match='192.0.2.1, port 0'):
        listen('192.0.2.1', 0)
