import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.errors import StoreError
from benchbench.store.table import COLUMNS, encode_part, item_from_line, item_to_line, read_part
from tests.store.make import item

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
REAL = st.floats(allow_nan=False)
ITEMS = st.builds(
    item,
    st.integers(0, 2**40),
    cluster=TEXT | st.none(),
    gold=TEXT | st.none(),
    prediction=TEXT | st.none(),
    targets=st.lists(TEXT, max_size=3).map(tuple),
    loglikelihoods=st.lists(REAL, max_size=3).map(tuple),
    texts=st.lists(TEXT, max_size=2).map(tuple),
    scores=st.fixed_dictionaries({"acc": REAL | st.none(), "exact_match,strict": REAL | st.none(), "tie": REAL}),
)


@given(st.lists(ITEMS, max_size=4, unique_by=lambda i: i.doc_id))
def test_items_come_back_from_parquet_as_they_were(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("table") / "part.parquet"
    path.write_bytes(encode_part(items))
    assert read_part(path) == sorted(items, key=lambda i: i.doc_id)


@given(ITEMS)
def test_items_come_back_from_lines_as_they_were(one):
    import json

    assert item_from_line(json.loads(json.dumps(item_to_line(one)))) == one


def test_the_order_of_writing_does_not_change_a_byte():
    items = [item(n, scores={"acc": n / 7}) for n in range(50)]
    assert encode_part(items) == encode_part(items[::-1])


def test_minus_infinity_and_nan_survive(tmp_path):
    path = tmp_path / "part.parquet"
    path.write_bytes(encode_part([item(loglikelihoods=(-math.inf, math.nan))]))
    low, nan = read_part(path)[0].loglikelihoods
    assert low == -math.inf
    assert math.isnan(nan)


def test_a_score_is_a_column_of_its_own_and_columns_keep_their_order(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "part.parquet"
    path.write_bytes(encode_part([item(scores={"acc": True, "acc_norm": None})]))
    schema = pq.read_schema(path)
    assert schema.names == [*COLUMNS, "acc", "acc_norm"]
    assert schema.field("acc").type == schema.field("acc_norm").type == pa.float64()
    assert schema.field("loglikelihoods").type == pa.list_(pa.float64())


def test_a_damaged_part_is_a_sentence(tmp_path):
    path = tmp_path / "part.parquet"
    path.write_bytes(encode_part([item()])[:-20])
    with pytest.raises(StoreError, match=r"cannot be read as parquet"):
        read_part(path)
