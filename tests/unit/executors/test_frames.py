import pytest

from heeler.executors.frames import Frame, FrameReader, frame

FRAMES = [(Frame.ORDER, b"abc"), (Frame.NOTE, b""), (Frame.REPLY, bytes(range(256)) * 40), (Frame.NOTE, b"z")]
STREAM = b"".join(frame(kind, data) for kind, data in FRAMES)


@pytest.mark.parametrize("step", [1, 2, 8, 9, 10, 1000, len(STREAM)])
def test_frames_come_out_whole_however_the_stream_is_cut(step: int) -> None:
    reader = FrameReader()
    read = [one for start in range(0, len(STREAM), step) for one in reader.feed(STREAM[start : start + step])]
    assert read == FRAMES


def test_an_unfinished_frame_is_held_back() -> None:
    reader = FrameReader()
    assert reader.feed(STREAM[:-1]) == FRAMES[:-1]
    assert reader.feed(b"z") == FRAMES[-1:]
