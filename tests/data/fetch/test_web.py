import contextlib
import datetime
import socket
import threading
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from robustft.data.fetch import web
from tests.data.fetch.bench import DATA, PAGE, WHOLE, described
from tests.data.fetch.server import Answer, Server

DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_in_trouble_is_asked_again_after_twice_the_wait(bench, server, status):
    trouble = Answer(status=status)
    bench.fetch(server.script("/a", trouble, trouble, WHOLE), first_wait_s=2.0)
    assert bench.output.read_bytes() == DATA
    assert bench.waits == [2.0, 4.0]
    assert f"HTTP {status}" in bench.lines[0]
    assert "attempt 2 of 3 in 2 s" in bench.lines[0]


def test_retry_after_is_obeyed_up_to_the_longest_wait(bench, server):
    asks = [Answer(status=503, headers={"Retry-After": seconds}) for seconds in ("7", "100000")]
    bench.fetch(server.script("/a", *asks, WHOLE), longest_wait_s=60.0)
    assert bench.waits == [7.0, 60.0]


def test_a_redirect_is_followed(bench, server):
    server.script("/there", WHOLE)
    url = server.script("/a", Answer(status=302, headers={"Location": "/there"}))
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert bench.facts["came_from"] == url


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody trusts, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path, pem = tmp_path / "certificate.pem", serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


def test_https_asks_for_a_trusted_certificate(bench, certificate, monkeypatch):
    with Server(certificate=certificate) as server:
        url = server.script("/a", WHOLE)
        assert "CERTIFICATE_VERIFY_FAILED" in bench.fails(url)
        assert bench.waits == [], "no use in asking again"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        bench.fetch(url)
    assert bench.output.read_bytes() == DATA


def test_an_answer_that_never_begins_is_noticed(bench):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts connections and says nothing
        message = bench.fails(f"http://127.0.0.1:{deaf.getsockname()[1]}/a", timeout_s=0.1, attempts=2)
    assert "no answer for 0.1 s; given up after 2 attempts" in message


def test_the_head_of_an_answer_that_comes_byte_by_byte_is_given_up(bench):
    """Each byte was in time, so the step never ended."""

    def drip(listener):
        with listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.send(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.05):
                connection.send(b"a")

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=[listener], daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        assert "no answer for 0.2 s; given up after 1 attempts" in bench.fails(url, timeout_s=0.2, attempts=1)
        over.set()


def test_an_answer_that_drips_is_given_up(monkeypatch):
    """One byte now and then is no stall: such an answer took a year."""
    now = iter(range(1000))
    answer = SimpleNamespace(raw=SimpleNamespace(read1=lambda *_, **__: b"x"))
    with pytest.raises(web.Interrupted, match="the answer is too slow: 1 bytes a second"):
        list(web.pieces(answer, timeout_s=60.0, slowest=10.0, clock=lambda: next(now)))
    now = iter(range(1000))
    left = iter([b"x" * 10] * 400 + [b""])
    answer = SimpleNamespace(raw=SimpleNamespace(read1=lambda *_, **__: next(left)))
    assert len(b"".join(web.pieces(answer, timeout_s=60.0, slowest=9.0, clock=lambda: next(now)))) == 4000


def test_nobody_listening_is_given_up_after_the_attempts(bench):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "no connection: " in bench.fails(f"http://127.0.0.1:{port}/a", first_wait_s=1.0)
    assert bench.waits == [1.0, 2.0]


@pytest.mark.parametrize(
    ("date", "wait_s"),
    [
        ("Tue, 01 Jan 2030 00:00:40 GMT", 40.0),
        ("Tue, 01 Jan 2030 00:00:40 +0000", 40.0),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 2.0),
        ("Wed, 01 Jan 2031 00:00:00 GMT", 60.0),
        ("Tue, 01 Jan 99999 00:00:00 GMT", 2.0),
        ("soon", 2.0),
    ],
)
def test_retry_after_may_be_a_date(bench, server, monkeypatch, date, wait_s):
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC).timestamp()
    monkeypatch.setattr(web, "time", SimpleNamespace(time=lambda: now))
    trouble = Answer(status=403, headers={"Retry-After": date})
    bench.fetch(server.script("/a", trouble, WHOLE), longest_wait_s=60.0)
    assert bench.waits == [wait_s]


def test_a_list_of_certificates_that_is_not_there_is_named(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    assert f"invalid path: {tmp_path / 'none.pem'}" in bench.fails("https://127.0.0.1:9/a")
    assert bench.waits == []


def test_the_date_of_the_last_change_stands_in_for_a_strong_etag(bench, server):
    headers = {"Last-Modified": "Tue, 01 Jan 2013 00:00:00 GMT", "ETag": 'W/"weak"'}
    bench.fetch(
        server.script("/a", Answer(data=DATA, headers=headers, stop=50_000), Answer(data=DATA, headers=headers))
    )
    assert server.asked[1].if_range == headers["Last-Modified"]
    assert server.sent["/a"] == [50_000, 50_000]


def test_what_will_not_change_is_not_asked_twice(bench, server):
    bench.fails(server.script("/a", Answer(status=404)))
    assert len(server.asked) == 1
    assert bench.waits == []


@pytest.mark.parametrize("file", [described(), described(bytes=None), described(hashed=False, bytes=None)])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/gzip"])
def test_a_web_page_in_the_place_of_an_archive_is_named(bench, server, file, kind):
    page = Answer(data=b"\xef\xbb\xbf \n" + PAGE, headers={"Content-Type": kind})
    message = bench.fails(server.script("/a", page), file=file)
    assert "the server answered with a web page (HTML) in the place of the file" in message
    assert bench.parts == []


def test_a_file_that_is_only_called_a_page_is_taken(bench, server):
    bench.fetch(server.script("/a", Answer(data=DATA, headers={"Content-Type": "text/html"})))
    assert bench.output.read_bytes() == DATA


def test_the_beginning_of_an_answer_is_judged_in_one_piece_however_it_comes(monkeypatch):
    """The first packet of Google Drive's page may end before its title; a server may send byte by byte."""
    packets = [b"<!DOCTYPE", b" html><title>", b"Google Drive", b"</title>", b"rest"]

    def answer():
        left = [*packets, b""]
        return SimpleNamespace(raw=SimpleNamespace(read1=lambda *_, **__: left.pop(0)))

    assert list(web.pieces(answer(), timeout_s=1.0)) == [b"".join(packets)]
    monkeypatch.setattr(web, "HEAD_BYTES", 40)
    assert list(web.pieces(answer(), timeout_s=1.0)) == [b"".join(packets[:4]), b"rest"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b'<?xml version="1.0"?>\n<Error><Code>SlowDown</Code></Error>',
            "an XML message in the place of the file: <?xml",
        ),
        (b'{"error": "Rate limit exceeded"}', 'a JSON message in the place of the file: {"error": "Rate'),
        (b"Too many requests, try again later.\n", "a text in the place of the file: Too many requests"),
        (b"", "an empty file"),
    ],
)
def test_a_text_in_the_place_of_a_file_that_no_hash_can_tell_is_named(bench, server, body, text):
    url, file = server.script("/a", Answer(data=body)), described(hashed=False, bytes=None)
    message = bench.fails(url, file=file)
    assert f"the server answered with {text}" in message
    if body:
        bench.fetch(url, file={**file, "name": "classes.txt"})
        assert bench.output.read_bytes() == body


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br"])
def test_the_stored_bytes_are_kept_whatever_the_server_calls_their_encoding(bench, server, encoding):
    bench.fetch(server.script("/a", Answer(data=DATA, headers={"Content-Encoding": encoding})))
    assert bench.output.read_bytes() == DATA
    assert server.asked[0].encoding == "identity"


@pytest.mark.parametrize("title", ["Google Drive - Virus scan warning", "Google Drive - Quota exceeded"])
def test_google_drives_page_is_named(bench, server, title):
    page = PAGE.replace(b"Not found", title.encode())
    assert "a page of Google Drive in the place of the file" in bench.fails(server.script("/a", Answer(data=page)))


def test_each_attempt_asks_the_first_address_again_and_continues_behind_the_redirect(bench, server):
    """A signed address is good for a short time; the second one says nothing of a validator."""
    weak = {"ETag": 'W/"weak"'}
    hops = [Answer(status=status, headers={"Location": f"/{status}?sig=SECRET"}) for status in (308, 307)]
    server.script("/308?sig=SECRET", Answer(data=DATA, headers=weak, stop=50_000))
    server.script("/307?sig=SECRET", Answer(data=DATA, headers=weak))
    bench.fetch(server.script("/a", *hops))
    assert bench.output.read_bytes() == DATA
    assert server.asked[-1].range == "bytes=50000-"
    assert "SECRET" not in bench.log + str(bench.facts)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:9/a",
        "/gone",
        "/loop",
        "/stalled",
        "ftp://127.0.0.1/a",
        "http://[/a",
        "http://exa mple/",
        "http:///",
    ],
)
def test_no_message_holds_an_address_that_a_redirect_gave(bench, server, target):
    loop = Answer(status=302, headers={"Location": f"{target}?sig=SECRET"})
    server.script("/gone?sig=SECRET", Answer(status=403))
    server.script("/loop?sig=SECRET", loop)
    server.script("/stalled?sig=SECRET", Answer(data=DATA, stall=10))
    message = bench.fails(server.script("/a", loop), attempts=2, timeout_s=0.2)
    assert "SECRET" not in message + bench.log


def test_a_redirect_loop_ends(bench, server):
    url = server.script("/a", Answer(status=302, headers={"Location": "/a"}))
    assert "cannot be fetched by http (TooManyRedirects)" in bench.fails(url)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,text"])
def test_other_schemes_are_never_opened_nor_redirected_to(bench, server, target):
    url = server.script("/a", Answer(status=302, headers={"Location": target}))
    for address in (target, url):
        assert "cannot be fetched by http (InvalidSchema)" in bench.fails(address)
    assert len(server.asked) == 1
    assert bench.waits == []
