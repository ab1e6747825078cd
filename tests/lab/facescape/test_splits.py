"""Which people are trained on, and which measured."""

from collections import Counter

from mesoface.lab.facescape.metadata import split_people

PEOPLE = range(1, 360)


def test_shares_are_kept_and_the_seed_decides():
    splits = split_people(PEOPLE, validation_share=0.05, eval_share=0.1, seed=0)
    assert Counter(splits.values()) == {"train": 305, "validation": 18, "eval": 36}
    assert splits == split_people(list(reversed(PEOPLE)), validation_share=0.05, eval_share=0.1, seed=0)
    other = split_people(PEOPLE, validation_share=0.05, eval_share=0.1, seed=1)
    assert Counter(other.values()) == Counter(splits.values())
    assert other != splits


def test_of_three_people_each_split_has_one():
    splits = split_people([4, 9, 11], validation_share=0.05, eval_share=0.1, seed=0)
    assert sorted(splits.values()) == ["eval", "train", "validation"]


def test_a_share_of_nothing_takes_nobody():
    assert set(split_people(PEOPLE, validation_share=0, eval_share=0, seed=0).values()) == {"train"}
    assert set(split_people([1, 2], validation_share=0.05, eval_share=0.1, seed=0).values()) == {"train"}


def test_a_growing_data_set_moves_nobody():
    before = split_people(range(1, 101), validation_share=0.05, eval_share=0.1, seed=0)
    after = split_people(PEOPLE, validation_share=0.05, eval_share=0.1, seed=0, known=before)
    assert all(after[person] == split for person, split in before.items())
    assert Counter(after.values()) == {"train": 305, "validation": 18, "eval": 36}
