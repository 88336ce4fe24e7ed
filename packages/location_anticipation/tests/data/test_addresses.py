"""Videos that a server sends: over HTTP in ranges, over RTSP as they are played; servers that fall silent."""

import http.server
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers.video import open_address
from location_anticipation.data.frame_sources import open_source

COUNT = 30


def encode(path: Path, **options: str) -> Path:
    """A grey that tells the number of the frame."""
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream("mpeg2video" if path.suffix == ".ts" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(COUNT):
            image = np.full((48, 64, 3), 20 + 6 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def greys(source: Path | str) -> tuple[list[int], str | None]:
    with open_source(source) as video:
        return [int(video.rgb(frame)[20, 20, 0]) for frame in video], video.damage


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """Run a server in a thread; gives its port."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def http_server(tmp_path: Path) -> Callable[[bool], Any]:
    """A server of the test's folder that sends the part that is asked for, or only whole files."""

    def serve(ranges: bool) -> Any:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = (tmp_path / self.path.strip("/")).read_bytes()
                asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if ranges and asked:
                    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
                    self.send_header("Accept-Ranges", "bytes")
                    content = content[first : last + 1]
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                try:
                    self.wfile.write(content)
                except ConnectionError:  # the reader has seen enough of this range
                    self.close_connection = True

            def log_message(self, *args: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        return serving(server)

    return serve


@pytest.mark.parametrize("ranges", [True, False])
def test_an_index_at_the_end_of_the_file(tmp_path: Path, http_server: Callable[[bool], Any], ranges: bool) -> None:
    """MP4 of most cameras: read where the server sends ranges, else one clear line or the whole video."""
    path = encode(tmp_path / "clip.mp4")
    content = path.read_bytes()
    assert content.index(b"mdat") < content.index(b"moov")
    with http_server(ranges) as port:
        address = f"http://127.0.0.1:{port}/clip.mp4"
        try:
            assert greys(address) == greys(path) and len(greys(path)[0]) == COUNT
        except UsageError as error:
            assert not ranges and "not a readable video" in str(error) and "\n" not in str(error)


RTSP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"


def camera(stream: bytes, silent_after: int | None = None) -> socketserver.TCPServer:
    """An RTSP server (RFC 2326) that plays a transport stream in RTP packets of the same connection, then ends, or falls silent
    after so many bytes."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while words := self.rfile.readline().split():
                headers = dict(line.decode().strip().split(": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
                method, more, body = words[0].decode(), "", ""
                if method == "DESCRIBE":
                    more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(RTSP)}\r\n", RTSP
                elif method == "SETUP":
                    more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"
                reply = f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n{more}\r\n{body}"
                self.wfile.write(reply.encode())
                if method == "PLAY":
                    self.play()
                    return

        def play(self) -> None:
            payload = 7 * 188
            for number, at in enumerate(range(0, len(stream[:silent_after]), payload)):
                packet = bytes([0x80, 33]) + number.to_bytes(2) + (3600 * number).to_bytes(4) + b"seed"
                packet += stream[at : at + payload]
                self.wfile.write(b"$\0" + len(packet).to_bytes(2) + packet)
            if silent_after is None:
                self.connection.shutdown(1)  # closing with unread words would take back what was sent
            while self.rfile.read(1):
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

    return Server(("127.0.0.1", 0), Handler)


def test_a_camera_that_speaks_rtsp(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.ts")
    expected, _ = greys(path)
    with serving(camera(path.read_bytes())) as port, open_source(f"rtsp://user:secret@127.0.0.1:{port}/live") as video:
        frames = list(video)
        seen = [int(video.rgb(frame)[20, 20, 0]) for frame in frames]
        assert seen == expected[: len(seen)] and len(seen) >= COUNT - 1  # FFmpeg waits for the end of the last frame
        assert video.seconds(frames[0]) == 0.0 and video.name == "live" and "secret" not in video.label


def test_a_camera_that_falls_silent_ends_in_time(tmp_path: Path) -> None:
    """With the frames so far, or one clear line where there was none."""
    content = encode(tmp_path / "clip.ts").read_bytes()
    timeout = 1.5
    for silent_after in (len(content) * 2 // 3 // 1316 * 1316, 0):
        started = time.monotonic()
        with serving(camera(content, silent_after)) as port:
            address = f"rtsp://127.0.0.1:{port}/live"
            if silent_after:
                with open_address(address, "camera", "camera", live=True, timeout=timeout) as video:
                    count = sum(1 for _ in video)
                    assert 10 < count < COUNT and video.damage is not None
                    assert "nothing came in time" in video.damage
            else:
                with pytest.raises(BrokenFile, match=r"^camera: .*nothing came in time"):
                    open_address(address, "camera", "camera", live=True, timeout=timeout).__enter__()
        assert time.monotonic() - started < 60  # it ends at all


def test_a_host_that_does_not_answer_is_one_clear_line() -> None:
    """An address of RFC 5737, which no host has."""
    with pytest.raises(BrokenFile, match=r"^camera: not a readable video \(.*\)$"):
        open_address("rtsp://192.0.2.1:554/live", "camera", "camera", live=True, timeout=0.5).__enter__()
