"""Real files: pictures are drawn, written, and made small by one job each, in child processes on all cores."""

import tempfile
from pathlib import Path

from heeler import Heeler, gather

app = Heeler("memory://")


@app.task(executor="process", timeout=30)
def shrink(source: str, target: str, times: int) -> tuple[int, int]:
    """Average blocks of `times` × `times` pixels of a portable pixmap (P6)."""
    magic, size, _, pixels = Path(source).read_bytes().split(b"\n", 3)
    assert magic == b"P6"
    width, height = (int(number) for number in size.split())
    small_width, small_height = width // times, height // times
    small = bytearray()
    for y in range(small_height):
        for x in range(small_width):
            for colour in range(3):
                block = [
                    pixels[3 * ((y * times + row) * width + x * times + column) + colour]
                    for row in range(times)
                    for column in range(times)
                ]
                small.append(sum(block) // len(block))
    Path(target).write_bytes(b"P6\n%d %d\n255\n" % (small_width, small_height) + small)
    return small_width, small_height


def draw(path: Path, red: int, width: int = 128, height: int = 96) -> None:
    pixels = bytes(value for y in range(height) for x in range(width) for value in (red, 2 * y, 2 * x))
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, app, app.worker(concurrency=2):
        pictures = [Path(folder, f"{number}.ppm") for number in range(8)]
        for number, picture in enumerate(pictures):
            draw(picture, red=30 * number)
        jobs = [(str(picture), str(picture.with_suffix(".small.ppm")), 8) for picture in pictures]
        sizes = gather(shrink.enqueue_many(jobs), timeout=60)
        for number, (_, target, _) in enumerate(jobs):
            header, first = Path(target).read_bytes().split(b"\n255\n", 1)
            assert header == b"P6\n16 12", header
            assert first[0] == 30 * number, first[:3]
        print(f"{len(sizes)} thumbnails of {sizes[0][0]} × {sizes[0][1]} pixels")
        assert sizes == [(16, 12)] * 8


if __name__ == "__main__":
    main()
