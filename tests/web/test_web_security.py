"""What strangers may send, and what they learn."""

import http.client
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from unblur.web import app as web
from unblur.web.gate import Rate, client_key

STATIC = Path(web.__file__).parent / "static"

#: What would tell where the server lives.
_LEAK = re.compile(r"/(usr|home|tmp|work|root|var|opt|etc)\b|site-packages|Traceback|\.py\b|\\")


def send(url, data, name="photo.png", path="/api/restore", **fields):
    """A refusal as (status, error code), after checks that hold for each: JSON, plain, quick, and no paths in it."""
    for _ in range(3):  # whatever else this machine does just then
        started = time.perf_counter()
        answer = requests.post(url + path, files={"file": (name, data)}, data=fields, timeout=30)
        taken = time.perf_counter() - started
        if taken < 1:
            break
    problem = answer.json()
    assert set(problem) == {"error", "message"}, problem
    assert not _LEAK.search(answer.text)
    assert problem["message"].endswith(".")
    assert "\n" not in problem["message"]
    assert taken < 1
    return answer.status_code, problem["error"]


def test_a_header_of_900_megapixels(server, png):
    assert send(server.url, png(30_000, 30_000, b"x")) == (413, "too_many_pixels")


def test_a_zip_bomb(server, bomb):
    assert len(bomb) < 300_000
    assert send(server.url, bomb) == (413, "bomb")
    assert send(server.url, bomb, path="/api/estimate") == (413, "bomb")


def test_svg(server):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    assert send(server.url, svg, "drawing.svg") == (415, "unknown_format")
    assert send(server.url, svg, "drawing.png") == (415, "unknown_format")


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_no_picture(server, data):
    assert send(server.url, data) == (415, "unknown_format")


def test_a_truncated_picture(server, photo):
    assert send(server.url, photo[: len(photo) // 2])[0] == 422


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd.png", "..", "a\tb.png", "x" * 300],
)
def test_names_that_are_paths(server, sharp, name):
    assert send(server.url, sharp, name) == (422, "bad_name")


@pytest.mark.parametrize(
    "method", ["no-such", "/etc/passwd", "weights/x.onnx", "cnn-rl:/etc/x.onnx", "", "../auto"]
)
def test_methods_are_names(server, sharp, method):
    assert send(server.url, sharp, method=method or " ") == (422, "unknown_method")


@pytest.mark.parametrize(
    "fields",
    [
        {"strength": "2"},
        {"strength": "nan"},
        {"sigma": "-1"},
        {"sigma": "inf"},
        {"format": "exe"},
        {"answer": "xml"},
    ],
)
def test_options_out_of_range(server, sharp, fields):
    assert send(server.url, sharp, **fields) == (422, "invalid")


def test_no_file(server):
    answer = requests.post(f"{server.url}/api/restore", data={"method": "auto"}, timeout=10)
    assert answer.status_code == 422
    assert answer.json() == {"error": "invalid", "message": "file: field required."}


def test_broken_forms(server):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x", b"--x\r\nnonsense", b"\0" * 1000):
        answer = requests.post(f"{server.url}/api/restore", data=body, headers=headers, timeout=10)
        assert answer.status_code in (400, 422)
        assert set(answer.json()) == {"error", "message"}


def test_no_such_address(server):
    answer = requests.get(f"{server.url}/api/nothing", timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    answer = requests.get(f"{server.url}/api/restore", timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%5capp.py"):
        # Neither requests nor a browser would send these as they are.
        line = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        line.request("GET", path)
        assert line.getresponse().status == 404


def test_200_megabytes_that_are_announced(server):
    line = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    started = time.perf_counter()
    line.putrequest("POST", "/api/restore")
    line.putheader("Content-Type", "multipart/form-data; boundary=x")
    line.putheader("Content-Length", "200000000")
    line.endheaders(b"--x\r\n")
    answer = line.getresponse()
    assert time.perf_counter() - started < 1
    assert answer.status == 413
    assert (
        answer.read() == b'{"error": "too_large", "message": "The file is larger than the limit of 20 MB."}'
    )


def resident(process):
    """Bytes of memory of a process."""
    with open(f"/proc/{process}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_200_megabytes_that_are_not_announced(server):
    """In chunks: counted, and neither kept in memory nor on disk."""
    line = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    block = bytes(1 << 20)
    before = resident(server.process.pid)
    started = time.perf_counter()
    line.putrequest("POST", "/api/restore")
    line.putheader("Content-Type", "multipart/form-data; boundary=x")
    line.putheader("Transfer-Encoding", "chunked")
    line.endheaders()
    line.send(b"%x\r\n%s\r\n" % (len(head), head))
    for _ in range(200):
        line.send(b"%x\r\n%s\r\n" % (len(block), block))
    line.send(b"0\r\n\r\n")
    answer = line.getresponse()
    taken = time.perf_counter() - started
    assert answer.status == 413
    assert b"larger than the limit" in answer.read()
    assert taken < 1
    assert resident(server.process.pid) - before < 60e6
    assert server.left_behind() == []


def test_every_answer_has_the_headers(server, sharp):
    answers = [
        requests.get(server.url + path, timeout=10)
        for path in ("/", "/docs", "/api/about", "/x", "/static/app.js")
    ]
    answers.append(requests.post(f"{server.url}/api/restore", files={"file": ("..", sharp)}, timeout=10))
    answers.append(
        requests.post(f"{server.url}/api/restore", files={"file": ("a.png", bytes(30_000_000))}, timeout=10)
    )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200, 422, 413]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    assert answers[-1].headers["cache-control"] == "no-store"


def test_the_page_names_no_other_place():
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            words = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|//[a-z]+\.|@import", words), path
            assert path.suffix == ".js" or "url(" not in words, path
            assert not re.search(r"<style|\sstyle=|\son\w+=|innerHTML|eval\(", words), path


def test_other_sites_pages_are_not_served(server, sharp):
    answer = requests.post(
        f"{server.url}/api/restore",
        files={"file": ("a.png", sharp)},
        headers={"Sec-Fetch-Site": "cross-site"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["error"]) == (403, "cross_site")


def picture_free(url, **headers):
    """The status of a request that costs nothing to refuse."""
    return requests.post(f"{url}/api/restore", headers=headers, timeout=10)


def test_rate(serving):
    with serving(rate=3) as url:
        answers = [picture_free(url, **{"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(4)]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 429]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert answers[3].json()["error"] == "too_many_requests"


def test_a_proxy_that_is_trusted(serving):
    with serving(rate=2, trusted_proxies=("127.0.0.0/8",), root_path="/pictures") as url:
        told = [picture_free(url, **{"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in range(4)]
        # The client can write what it likes before what the proxy appends.
        spoofed = [
            picture_free(url, **{"X-Forwarded-For": f"1.2.3.{n}, 10.9.9.9"}).status_code for n in range(3)
        ]
        schema = requests.get(f"{url}/openapi.json", timeout=10).json()
        pages = [requests.get(url + path, timeout=10).text for path in ("/", "/pictures", "/pictures/")]
        script = requests.get(f"{url}/pictures/static/app.js", timeout=10)
    assert told == [422] * 4
    assert spoofed == [422, 422, 429]
    assert len(set(pages)) == 1
    assert script.status_code == 200
    assert schema["servers"] == [{"url": "/pictures"}]


def test_one_subscriber_is_one_client():
    keys = [
        client_key({"client": (host, 1)})
        for host in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1", "1.2.3.4")
    ]
    assert keys == ["2001:db8::/64", "2001:db8::/64", "2001:db8:0:1::/64", "1.2.3.4"]


def test_buckets_fill_and_are_forgotten(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(60)
    assert [rate.wait("a") for _ in range(62)] == [0] * 60 + [1, 1]
    now += 1
    assert [rate.wait("a"), rate.wait("a")] == [0, 1]
    for number in range(10_001):
        rate.wait(str(number))
    now += 61
    rate.wait("b")
    assert list(rate._buckets) == ["b"]


def test_too_many_at_once_and_too_slow(serving):
    with serving(queue=0, upload_seconds=0.7) as url:
        line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        line.putrequest("POST", "/api/restore")
        line.putheader("Content-Type", "multipart/form-data; boundary=x")
        line.putheader("Content-Length", "1000")
        line.endheaders(b"--x\r\n")
        time.sleep(0.2)
        second = picture_free(url)
        slow = line.getresponse()
        third = picture_free(url)
    assert (second.status_code, second.json()["error"], second.headers["retry-after"]) == (503, "busy", "5")
    assert slow.status == 408
    assert third.status_code == 422
