"""Sets whose labels are those of other classes of the same names."""

import pytest

from efficiency_core.errors import UsageError
from full_video.data.video_set import with_classes


@pytest.mark.parametrize(("names", "labels", "known", "expected"), [
    (("0", "1"), [1, 0, 1], ("0", "1", "2"), [1, 0, 1]),  # without the highest class
    (("1", "2"), [0, 1], ("0", "1", "2"), [1, 2]),  # without the lowest
    (("b", "a"), [0, 1, 1], ("a", "b"), [1, 0, 0]),  # in another order
    (("a", "x", "c"), [2, 0], ("c", "b", "a"), [0, 2]),  # an unknown class without videos
    (("a", "b"), [], ("c",), []),
])  # fmt: skip
def test_labels_are_found_by_name(video_set, names, labels, known, expected):
    videos = video_set([(3, 8, 8)] * len(labels), labels, names)
    found = with_classes(videos, known, "net", "list")
    assert [found.label(video) for video in range(len(found))] == expected
    assert found.info.class_names == known and found.info.content_digest == videos.info.content_digest
    assert [found.name(video) for video in range(len(found))] == [f"video{video}" for video in range(len(labels))]
    assert all(len(found.frames(video)) == 3 for video in range(len(found)))


def test_classes_that_are_not_known(video_set):
    videos = video_set([(3, 8, 8)] * 2, [0, 1], ("a", "b"))
    assert with_classes(videos, ("a", "b"), "net", "list") is videos
    for known, message in (
        (("a", "c"), "class 1 of net is 'c', of list 'b'"),
        (("b",), "net knows 1 classes, list has 2; 'a' is not among them"),
        (("a", "c", "d"), "net knows 3 classes, list has 2; 'b' is not among them"),
    ):
        with pytest.raises(UsageError, match=message):
            with_classes(videos, known, "net", "list")
