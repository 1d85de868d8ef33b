"""Splits keep groups whole, meet their fractions, and depend on ids and the seed alone."""

import math
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from meddiff.core.errors import MeddiffError
from meddiff.data.splitting.split import (
    MIN_IMAGES,
    require_images,
    split_as_published,
    split_leak_free,
    undersample,
)

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def table_of(groups: list[tuple[str, int]], duplicates: int = 0) -> pd.DataFrame:
    """Build an index of groups (label, size); the first of some groups has a duplicate in it."""
    rows = [
        {"group": number, "label": label, "id": f"{number:04d}-{k}", "duplicate_of": pd.NA}
        for number, (label, size) in enumerate(groups)
        for k in range(size)
    ]
    rows += [
        {**rows[n], "id": f"{rows[n]['id']}-again", "duplicate_of": rows[n]["id"]}
        for n in range(min(duplicates, len(rows)))
    ]
    return pd.DataFrame(rows).assign(edition="1").astype({"duplicate_of": "string", "id": "string"})


def images(**counts: int) -> pd.DataFrame:
    return table_of([(label, 1) for label, count in counts.items() for _ in range(count)])


groups_of_two_classes = st.lists(
    st.tuples(st.sampled_from(["benign", "malignant"]), st.integers(1, 9)), max_size=60
).map(lambda groups: [("benign", 1), ("malignant", 2)] * 3 + groups)
shares = st.sampled_from(
    [FRACTIONS, {"train": 0.5, "test": 0.5}, {"train": 0.75, "validation": 0.1, "test": 0.15}]
)


class TestLeakFree:
    @settings(deadline=None)
    @given(groups_of_two_classes, shares, st.integers(0, 99), st.integers(0, 20))
    def test_whole_groups_each_image_once_fractions_met(
        self, groups: list[tuple[str, int]], fractions: dict[str, float], seed: int, copies: int
    ) -> None:
        table = table_of(groups, copies)
        split = split_leak_free(table, fractions=fractions, seed=seed)
        kept = table["duplicate_of"].isna()
        assert split[~kept].isna().all()
        assert split[kept].isin(list(fractions)).all()
        assert split[kept].groupby(table["group"]).nunique().max() == 1
        for label, rows in table[kept].groupby("label"):
            counted = split[rows.index].value_counts()
            largest = rows["group"].value_counts().max()
            for name, share in fractions.items():
                assert 1 <= counted[name] < share * len(rows) + largest + 1, label

    @settings(deadline=None, max_examples=25)
    @given(groups_of_two_classes, st.integers(0, 99), st.randoms())
    def test_row_order_does_not_matter(self, groups, seed: int, random) -> None:
        table = table_of(groups, 5)
        split = split_leak_free(table, fractions=FRACTIONS, seed=seed)
        rows = list(table.index)
        random.shuffle(rows)
        shuffled = split_leak_free(table.loc[rows], fractions=FRACTIONS, seed=seed)
        pd.testing.assert_series_equal(shuffled.sort_index(), split, check_names=False)

    def test_the_numbers_of_the_groups_do_not_matter(self) -> None:
        table = table_of([("a", 3), ("b", 2)] * 20)
        split = split_leak_free(table, fractions=FRACTIONS, seed=1)
        renumbered = table.assign(group=1000 - 7 * table["group"])
        assert split_leak_free(renumbered, fractions=FRACTIONS, seed=1).equals(split)

    def test_single_images_meet_the_fractions_exactly(self) -> None:
        table = images(benign=900, malignant=100)
        split = split_leak_free(table, fractions=FRACTIONS, seed=0)
        assert Counter(zip(table["label"], split, strict=True)) == {
            ("benign", "train"): 720,
            ("benign", "validation"): 90,
            ("benign", "test"): 90,
            ("malignant", "train"): 80,
            ("malignant", "validation"): 10,
            ("malignant", "test"): 10,
        }

    def test_large_groups_go_first(self) -> None:
        """Single images fill up what a large group leaves; the other way round it would spill."""
        table = table_of([("a", 1)] * 50 + [("a", 50)])
        split = split_leak_free(table, fractions={"train": 0.5, "test": 0.5}, seed=0)
        assert split.value_counts().to_dict() == {"train": 50, "test": 50}

    def test_the_seed_changes_the_split_and_every_group_can_go_anywhere(self) -> None:
        table = images(benign=30, malignant=30)
        splits = [split_leak_free(table, fractions=FRACTIONS, seed=seed) for seed in range(200)]
        tested = sum((split == "test").to_numpy() for split in splits)
        low, high = binom.ppf([1e-5, 1 - 1e-5], 200, 0.1)
        assert low <= tested.min() and tested.max() <= high

    def test_duplicates_do_not_count(self) -> None:
        """Ten copies of one image weigh as one."""
        table = images(a=20)
        copies = pd.concat([table.iloc[[0]]] * 10).assign(duplicate_of=table.loc[0, "id"])
        copies["id"] = [f"copy{n}" for n in range(10)]
        together = pd.concat([table, copies], ignore_index=True)
        alone = split_leak_free(table, fractions=FRACTIONS, seed=3)
        assert split_leak_free(together, fractions=FRACTIONS, seed=3)[:20].equals(alone)

    def test_too_few_groups(self) -> None:
        table = table_of([("benign", 1)] * 9 + [("malignant", 50)] * 2)
        with pytest.raises(MeddiffError, match=r"\bmalignant .*\b2 .*\b3,.*data\.classes"):
            split_leak_free(table, fractions=FRACTIONS, seed=0)

    def test_as_many_groups_as_splits_go_one_to_each(self) -> None:
        table = table_of([("benign", 5)] * 3 + [("malignant", 1)] * 30)
        split = split_leak_free(table, fractions=FRACTIONS, seed=0)
        assert sorted(split[table["label"] == "benign"].unique()) == ["test", "train", "validation"]

    def test_a_group_of_two_labels_stays_whole(self) -> None:
        table = table_of([("benign", 4)] * 10 + [("malignant", 2)] * 10)
        table.loc[[0, 1, 40], "group"] = 500
        split = split_leak_free(table, fractions=FRACTIONS, seed=0)
        assert split[[0, 1, 40]].nunique() == 1


class TestAsPublished:
    @settings(deadline=None)
    @given(st.integers(3, 200), st.integers(3, 50), shares, st.integers(0, 99))
    def test_each_class_is_divided_by_the_fractions(
        self, benign: int, malignant: int, fractions: dict[str, float], seed: int
    ) -> None:
        table = images(benign=benign, malignant=malignant)
        split = split_as_published(table, fractions, seed)
        for label, count in (("benign", benign), ("malignant", malignant)):
            counted = split[table["label"] == label].value_counts()
            assert counted.sum() == count
            for name, share in fractions.items():
                slack = 1 if count * min(fractions.values()) >= 1 else len(fractions)
                assert counted[name] >= 1 and abs(counted[name] - share * count) <= slack

    def test_it_is_blind_to_groups_and_duplicates(self) -> None:
        table = table_of([("a", 10)] * 20, duplicates=20)
        split = split_as_published(table, FRACTIONS, 0)
        assert split.notna().all()
        assert split.groupby(table["group"]).nunique().max() > 1

    def test_row_order_does_not_matter(self) -> None:
        table = images(a=50, b=20)
        shuffled = split_as_published(table.sample(frac=1, random_state=0), FRACTIONS, 5)
        pd.testing.assert_series_equal(
            shuffled.sort_index(), split_as_published(table, FRACTIONS, 5)
        )

    def test_the_split_is_uniform_over_images(self) -> None:
        table = images(a=40)
        tested = sum(
            (split_as_published(table, FRACTIONS, seed) == "test").to_numpy() for seed in range(300)
        )
        assert chisquare(tested).pvalue > 1e-4

    def test_a_share_of_zero_leaves_the_split_out(self) -> None:
        split = split_as_published(images(a=10), {"train": 0.9, "validation": 0.1, "test": 0}, 0)
        assert split.value_counts().to_dict() == {"train": 9, "validation": 1}

    def test_too_few_images(self) -> None:
        with pytest.raises(MeddiffError, match=r"\bb .*\b2 .*\b3,.*data\.classes"):
            split_as_published(images(a=10, b=2), FRACTIONS, 0)

    @pytest.mark.parametrize(
        "fractions", [{"train": 0.8, "test": 0.1}, {"train": 1.2, "test": -0.2}, {}]
    )
    def test_fractions_must_sum_to_one(self, fractions: dict[str, float]) -> None:
        with pytest.raises(MeddiffError, match=re.escape(str(fractions))):
            split_as_published(images(a=10), fractions, 0)
        with pytest.raises(MeddiffError, match=re.escape(str(fractions))):
            split_leak_free(images(a=10), fractions=fractions, seed=0)


class TestUndersample:
    @staticmethod
    def table() -> pd.DataFrame:
        table = images(benign=60, malignant=12)
        return table.assign(split=["train", "test"] * 36).astype({"split": "string"})

    @staticmethod
    def selected(table: pd.DataFrame) -> dict[tuple[str, str], int]:
        chosen = table[table["selected"]]
        return dict(Counter(zip(chosen["split"], chosen["label"], strict=True)))

    def test_every_class_is_cut_to_the_smallest_of_its_split(self) -> None:
        table = undersample(self.table(), seed=0)
        assert self.selected(table) == dict.fromkeys(
            [(s, c) for s in ("train", "test") for c in ("benign", "malignant")], 6
        )

    def test_ranks_are_a_permutation_of_each_cell(self) -> None:
        table = undersample(self.table(), seed=0)
        for _, cell in table.groupby(["split", "label"]):
            assert sorted(cell["rank"]) == list(range(len(cell)))
            assert (cell["selected"] == (cell["rank"] < 6)).all()

    def test_counts_are_shared_out_in_proportion(self) -> None:
        table = self.table()
        table.loc[table["label"] == "benign", "split"] = ["train"] * 45 + ["test"] * 15
        chosen = undersample(table, seed=0, counts={"benign": 20})
        assert self.selected(chosen) == {
            ("train", "benign"): 15,
            ("train", "malignant"): 6,
            ("test", "benign"): 5,
            ("test", "malignant"): 6,
        }

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(["train", "validation", "test"]), st.integers(1, 300), min_size=1
        ),
        st.data(),
    )
    def test_counts_are_kept_exactly_and_every_split_has_some(
        self, sizes: dict[str, int], data: st.DataObject
    ) -> None:
        total = sum(sizes.values())
        requested = data.draw(st.integers(len(sizes), total))
        split = [name for name, size in sizes.items() for _ in range(size)]
        table = images(benign=total).assign(split=split)
        kept = undersample(table, seed=0, counts={"benign": requested}).query("selected")["split"]
        assert len(kept) == requested
        for name, size in sizes.items():
            count = (kept == name).sum()
            assert 1 <= count <= size and abs(count - requested * size / total) < len(sizes)

    def test_the_studys_count_is_met(self) -> None:
        """6,834 of 20,000 benign images in shares of 0.8, 0.1 and 0.1."""
        split = ["train"] * 16000 + ["validation"] * 2000 + ["test"] * 2000
        table = images(benign=20000).assign(split=split)
        assert undersample(table, seed=0, counts={"benign": 6834})["selected"].sum() == 6834

    def test_fewer_than_there_are_splits(self) -> None:
        with pytest.raises(MeddiffError, match=r"undersample\.counts: .*benign .*2 splits"):
            undersample(self.table(), seed=0, counts={"benign": 1})

    def test_counts_beyond_what_there_is(self) -> None:
        with pytest.raises(MeddiffError, match=r"undersample\.counts: .*malignant .*\b12 .*13\b"):
            undersample(self.table(), seed=0, counts={"malignant": 13})
        with pytest.raises(MeddiffError, match=r"undersample\.counts: .*\bother .*\b0 "):
            undersample(self.table(), seed=0, counts={"other": 1})

    def test_rows_without_a_split_are_left_out(self) -> None:
        table = self.table()
        table.loc[:3, "split"] = pd.NA
        chosen = undersample(table, seed=0)
        assert chosen.loc[:3, "rank"].isna().all() and not chosen.loc[:3, "selected"].any()
        assert chosen["selected"].dtype == bool

    def test_neither_row_order_nor_other_images_change_the_order(self) -> None:
        table = self.table()
        whole = undersample(table, seed=4)
        shuffled = undersample(table.sample(frac=1, random_state=0), seed=4).sort_index()
        pd.testing.assert_frame_equal(shuffled, whole)
        cell = (table["label"] == "benign") & (table["split"] == "train")
        fewer = undersample(table.drop(index=table.index[cell][:10]), seed=4)
        order = whole[cell].sort_values("rank")["id"]
        rest = fewer[cell.reindex(fewer.index)].sort_values("rank")["id"]
        assert rest.tolist() == order[order.isin(rest)].tolist()

    def test_selection_is_independent_of_the_split(self) -> None:
        """One hash for both orders would select the images that the split put first."""
        table = images(a=4000)
        table["split"] = split_as_published(table, {"train": 0.5, "test": 0.5}, 7)
        table.loc[:99, "label"] = "b"
        train = undersample(table, 7).query("split == 'train' and label == 'a'")
        again = split_as_published(table, {"train": 0.25, "rest": 0.75}, 7)[train.index] == "train"
        rate = again[train["selected"]].mean() - again.mean()
        assert abs(rate) < 4 * math.sqrt(0.25 / train["selected"].sum())

    def test_the_seed_changes_the_selection(self) -> None:
        first, second = (undersample(self.table(), seed)["selected"] for seed in (0, 1))
        assert not np.array_equal(first, second)

    def test_all_images_of_a_class_are_kept_where_that_is_asked(self) -> None:
        table = images(a=40, b=12, c=9).assign(split=["train", "train", "test"] * 20 + ["test"])
        chosen = undersample(table, seed=0, counts={"a": "all", "b": 6})
        kept = Counter(chosen.loc[chosen["selected"], "label"])
        rest = undersample(table, seed=0)
        assert kept == {"a": 40, "b": 6, "c": Counter(rest[rest["selected"]]["label"])["c"]}
        whole = undersample(table, seed=0, counts=dict.fromkeys("abc", "all"))
        assert whole["selected"].all() and whole["rank"].equals(rest["rank"])

    def test_all_is_the_number_of_images_that_there_are(self) -> None:
        table = self.table()
        table.loc[:3, "split"] = pd.NA
        requested = undersample(table, 0, {"benign": 56, "malignant": 12})
        pd.testing.assert_frame_equal(
            undersample(table, 0, {"benign": "all", "malignant": "all"}), requested
        )


class TestRequireImages:
    @staticmethod
    def table(**cells: list[int]) -> pd.DataFrame:
        """Rows of each class in training, validation and test set, all kept."""
        rows = [
            {"label": label, "split": split, "selected": True}
            for label, counts in cells.items()
            for split, count in zip(FRACTIONS, counts, strict=True)
            for _ in range(count)
        ]
        return pd.DataFrame(rows).astype({"label": "string", "split": "string"})

    def message_of(self, table: pd.DataFrame) -> str:
        with pytest.raises(MeddiffError) as caught:
            require_images(table, ["a", "b"], FRACTIONS)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    def test_enough(self) -> None:
        require_images(self.table(a=[MIN_IMAGES] * 3, b=[9, 3, 2]), ["a", "b"], FRACTIONS)
        two = {"train": 0.9, "validation": 0.1, "test": 0.0}
        require_images(self.table(a=[9, 2, 0]), ["a"], two)

    @pytest.mark.parametrize(
        ("counts", "remedies"),
        [
            ([9, 4, 1], ["split.test"]),
            ([9, 1, 0], ["split.test", "split.validation"]),
            ([1, 4, 4], ["split.validation", "split.test"]),
            ([1, 1, 1], []),
        ],
    )
    def test_the_class_its_numbers_and_the_remedy_are_named(self, counts, remedies) -> None:
        message = self.message_of(self.table(a=[9, 9, 9], b=counts))
        assert "class b" in message and "class a" not in message
        assert all(str(count) in message for count in counts)
        assert all(remedy in message for remedy in remedies)
        keys = {"split.validation", "split.test", "undersample"}
        assert all((key in message) == any(key in one for one in remedies) for key in keys)

    def test_what_undersampling_removed_is_named_by_its_key(self) -> None:
        table = self.table(a=[9, 9, 9], b=[9, 3, 3])
        table.loc[table.groupby(["label", "split"]).cumcount() > 0, "selected"] = False
        message = self.message_of(table)
        assert "undersample.counts" in message and "split.test" not in message

    def test_a_class_without_images_is_named(self) -> None:
        message = self.message_of(self.table(a=[9, 9, 9]))
        assert "data.classes" in message and message.count("b") > 0 and "split." not in message

    @settings(deadline=None, max_examples=50)
    @given(
        st.lists(st.integers(2, 30), min_size=2, max_size=2),
        st.sampled_from(["as_published", "leak_free"]),
        st.integers(0, 9),
        st.sampled_from([{}, {"a": "all", "b": "all"}]),
    )
    def test_what_passes_has_enough_of_each_class_in_every_split(
        self, sizes, protocol, seed, counts
    ) -> None:
        table = images(**dict(zip("ab", sizes, strict=True)))
        divide = {"as_published": split_as_published, "leak_free": split_leak_free}[protocol]
        try:
            table["split"] = divide(table, fractions=FRACTIONS, seed=seed)
            table = undersample(table, seed, counts)
            require_images(table, ["a", "b"], FRACTIONS)
        except MeddiffError as error:
            assert "class" in str(error)
            return
        cells = table[table["selected"]].groupby(["label", "split"]).size()
        assert len(cells) == 6 and cells.min() >= MIN_IMAGES
