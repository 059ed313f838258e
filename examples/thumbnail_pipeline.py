"""A chord over real pictures: each is made small in several widths, and a contact sheet waits for all of them."""

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from heeler import Heeler, chain, chord, group

app = Heeler("memory://")
WIDTHS = (128, 48)


@app.task
def straighten(path: str) -> str:
    with Image.open(path) as image:
        (image if image.width >= image.height else image.rotate(90, expand=True)).save(path)
    return path


@app.task
def shrink(path: str, width: int) -> str:
    target = Path(path).with_suffix(f".{width}.jpg")
    with Image.open(path) as image:
        image.thumbnail((width, width))
        image.save(target)
    return str(target)


@app.task
def contact_sheet(rows: list[list[str]], target: str) -> tuple[int, int]:
    sheet = Image.new("RGB", (sum(WIDTHS), 96 * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            with Image.open(path) as thumbnail:
                sheet.paste(thumbnail, (sum(WIDTHS[:x]), 96 * y))
    sheet.save(target)
    return sheet.size


def draw(path: Path, number: int) -> None:
    image = Image.linear_gradient("L").resize((640, 480) if number % 3 else (480, 640)).convert("RGB")
    ImageDraw.Draw(image).ellipse((100, 100, 200 + 20 * number, 300), fill=(30 * number, 60, 200))
    image.save(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, app, app.worker(concurrency=4):
        pictures = [Path(folder, f"{number}.png") for number in range(6)]
        for number, picture in enumerate(pictures):
            draw(picture, number)
        each = [chain(straighten.s(str(path)), group([shrink.s(width) for width in WIDTHS])) for path in pictures]
        run = chord(each, contact_sheet.s(f"{folder}/sheet.png")).enqueue()
        assert run.get(timeout=60) == (sum(WIDTHS), 96 * 6)
        print(f"{run.progress} jobs made {len(list(Path(folder).glob('*.jpg')))} thumbnails and a sheet of them")


if __name__ == "__main__":
    main()
