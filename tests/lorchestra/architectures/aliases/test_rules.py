"""The engine behind the alias tables: numbers, parts of weights, and what it leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.architectures.aliases import rules
from lorchestra.architectures.aliases.rules import Alias, Rows, Rule, Shape, Table, aliases, part


def table(*entries: Rule, needs: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> Table:
    """A table for any model, if not told otherwise."""
    return Table("test", needs, lacks, entries)


def found(entry: Rule | Table, *weights: str, shape: Shape = (12, 4)) -> list[Alias]:
    """What one rule or table says about these layers."""
    tables = (entry if isinstance(entry, Table) else table(entry),)
    return list(aliases(tables, dict.fromkeys(weights, shape)))


def test_numbers_are_taken_over_in_order() -> None:
    assert found(Rule("a.#.b.#.c", "x.#.#.y"), "x.3.14.y") == [Alias("a.3.b.14.c", "x.3.14.y", None)]


def test_numbers_that_a_pattern_names_must_be_there() -> None:
    """`mlp.0` and `mlp.2` are different layers, and so are `fc1` and `fc2`."""
    rule = Rule("ff.#.up", "blocks.#.mlp.0.fc1")
    assert found(rule, "blocks.5.mlp.0.fc1", "blocks.5.mlp.2.fc1", "blocks.5.mlp.0.fc2") == [
        Alias("ff.5.up", "blocks.5.mlp.0.fc1", None)
    ]


def test_numbers_within_words_count() -> None:
    assert found(Rule("blocks.#.q", "blocks.block#.q"), "blocks.block27.q") == [
        Alias("blocks.27.q", "blocks.block27.q", None)
    ]


def test_a_name_without_numbers() -> None:
    assert found(Rule("all.2-1", "final"), "final", "final.linear") == [Alias("all.2-1", "final", None)]


def test_nothing_for_layers_that_are_not_there() -> None:
    assert found(Rule("a.#", "x.#"), "x", "x.1.y", "y.1") == []


def test_a_table_is_for_models_with_what_it_needs_and_without_what_it_lacks() -> None:
    entry = table(Rule("a", "x"), needs=("x", "y"), lacks=("z",))
    assert len(found(entry, "x", "y")) == 1
    assert found(entry, "x") == []
    assert found(entry, "x", "y", "z") == []


def test_no_name_comes_twice() -> None:
    """The first rule that fits keeps it, also over a later table."""
    first = table(Rule("a.#", "x.#", rules.SWAPPED_PAIR), Rule("a.#", "x.#"))
    second = table(Rule("a.#", "y.#"))
    assert list(aliases((first, second), {"x.0": (24, 4), "x.1": (8, 4), "y.1": (8, 4)})) == [
        Alias("a.0", "x.0", None),
        Alias("a.1", "x.1", Rows(0, 8, swapped=True)),
    ]


@pytest.mark.parametrize(
    ("rows", "shape", "expected"),
    [
        (rules.FIRST_THIRD, (9216, 3072), Rows(0, 3072)),
        (rules.SECOND_THIRD, (9216, 3072), Rows(3072, 3072)),
        (rules.LAST_THIRD, (9216, 3072), Rows(6144, 3072)),
        (rules.LAST_THIRD, (21504, 5376), Rows(14336, 7168)),
        (rules.FIRST_THIRD, (9216,), Rows(0, 3072)),
        (rules.FIRST_THIRD, (9217, 3072), None),
        (rules.FIRST_HALF, (2304, 1152), Rows(0, 1152)),
        (rules.SECOND_HALF, (2304, 1152), Rows(1152, 1152)),
        (rules.SECOND_HALF, (3, 1), None),
        (rules.SWAPPED, (6144, 3072), Rows(0, 6144, swapped=True)),
        (rules.SWAPPED, (7, 3072), None),
        (rules.SWAPPED_PAIR, (3072, 1536), Rows(0, 3072, swapped=True)),
        (rules.SWAPPED_PAIR, (9216, 1536), None),
        (rules.QUERY, (3840, 2304), Rows(0, 2304)),
        (rules.KEY, (3840, 2304), Rows(2304, 768)),
        (rules.VALUE, (3840, 2304), Rows(3072, 768)),
        (rules.VALUE, (11520, 3840), Rows(7680, 3840)),
        (rules.KEY, (2304, 2304), None),
        (rules.QUERY, (3840,), None),
        (rules.LINEAR1_QUERY, (21504, 3072), Rows(0, 3072)),
        (rules.LINEAR1_KEY, (21504, 3072), Rows(3072, 3072)),
        (rules.LINEAR1_VALUE, (21504, 3072), Rows(6144, 3072)),
        (rules.LINEAR1_QKV, (21504, 3072), Rows(0, 9216)),
        (rules.LINEAR1_MLP, (21504, 3072), Rows(9216, 12288)),
        (rules.LINEAR1_MLP, (33792, 3072), Rows(9216, 24576)),
        (rules.LINEAR1_MLP, (9216, 3072), None),
        (rules.LINEAR1_VALUE, (6144, 3072), None),
        (rules.FIRST_HALF, (), None),
    ],
)
def test_parts(rows: str, shape: Shape, expected: Rows | None) -> None:
    assert part(rows, shape) == expected


PARTITIONS = (
    (rules.FIRST_THIRD, rules.SECOND_THIRD, rules.LAST_THIRD),
    (rules.FIRST_HALF, rules.SECOND_HALF),
    (rules.QUERY, rules.KEY, rules.VALUE),
    (rules.LINEAR1_QUERY, rules.LINEAR1_KEY, rules.LINEAR1_VALUE, rules.LINEAR1_MLP),
    (rules.LINEAR1_QKV, rules.LINEAR1_MLP),
)


@given(st.sampled_from(PARTITIONS), st.lists(st.integers(1, 60), min_size=1, max_size=3).map(tuple))
def test_parts_fill_a_weight_without_gap_or_not_at_all(partition: tuple[str, ...], shape: Shape) -> None:
    parts = [part(rows, shape) for rows in partition]
    inside = [rows for rows in parts if rows]
    if len(inside) < len(parts):
        # the first parts of a linear1 without a way into the MLP are all that can be there alone
        assert not inside or partition[-1] == rules.LINEAR1_MLP
        return
    end = 0
    for rows in inside:
        assert rows.start == end
        assert rows.length > 0
        end += rows.length
    assert end == shape[0]


def test_a_part_that_does_not_exist_has_no_name() -> None:
    assert found(Rule("a.#", "x.#", rules.FIRST_THIRD), "x.0", shape=(10, 4)) == []


def test_parts_of_a_weight_of_unknown_shape_have_no_names() -> None:
    entry = table(Rule("a.#.q", "x.#.qkv", rules.FIRST_THIRD), Rule("a.#.out", "x.#.proj"), needs=("x.0.qkv",))
    assert list(aliases((entry,), {"x.0.qkv": None, "x.0.proj": None})) == [Alias("a.0.out", "x.0.proj", None)]


def test_mistakes_in_a_table_are_told() -> None:
    with pytest.raises(ValueError, match=r"a\.# and x do not have as many numbers"):
        found(Rule("a.#", "x"), "x")
    with pytest.raises(ValueError, match="no part of a weight called 'fifth'"):
        found(Rule("a", "x", "fifth"), "x")
