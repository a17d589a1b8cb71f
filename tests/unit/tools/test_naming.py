import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.tools.client_limits import RESERVED_ARGUMENTS, is_argument_name, is_tool_name
from dagcall.tools.naming import property_name_from_param, tool_name_from_dag_id

DAG_IDS = st.text(min_size=1, max_size=250)
LIKELY_IDS = st.text(alphabet="ab.-_é0123456789abcdef", min_size=1, max_size=70)


@pytest.mark.parametrize(
    ("dag_id", "name"),
    [
        pytest.param("summarize_text", "summarize_text", id="kept"),
        pytest.param("a-B_9", "a-B_9", id="every allowed character"),
        pytest.param("sales.daily", "sales_daily_a3fae80589", id="dot"),
        pytest.param("wait_for_dag_run", "wait_for_dag_run_1b2ddbf654", id="a name of dagcall's own"),
        pytest.param("x_0123456789", "x_0123456789_a9c59ebfa5", id="looks like a changed name"),
        pytest.param("2026_ingest", "dag_2026_ingest_7e9e212a59", id="begins with a digit"),
        pytest.param("-x", "x_a420962426", id="begins with a dash"),
        pytest.param("Sales.Daily", "Sales_Daily_8d8eb48ce0", id="capital letters"),
        pytest.param("_X.1", "X_1_db35ec41d2", id="begins with an underscore"),
        pytest.param("a\ud800", "a__25819b9b43", id="a lone surrogate"),
        pytest.param("日期", "dag_70d0c1b336", id="no letter that clients accept"),
        pytest.param("d" * 51, f"{'d' * 39}_5c69dbcd3a", id="one too long"),
        pytest.param("d" * 50, "d" * 50, id="just fits"),
    ],
)
def test_a_dag_id_becomes_a_tool_name(dag_id: str, name: str) -> None:
    assert tool_name_from_dag_id(dag_id) == name


@given(DAG_IDS | LIKELY_IDS)
def test_every_dag_id_gives_a_valid_tool_name(dag_id: str) -> None:
    assert is_tool_name(tool_name_from_dag_id(dag_id))


@given(st.lists(DAG_IDS | LIKELY_IDS, unique=True, max_size=20))
def test_tool_names_of_dag_ids_are_unique(dag_ids: list[str]) -> None:
    assert len({tool_name_from_dag_id(dag_id) for dag_id in dag_ids}) == len(dag_ids)


@given(DAG_IDS | LIKELY_IDS)
def test_generated_name_is_changed_again_if_used_as_a_dag_id(dag_id: str) -> None:
    """A generated name never collides with the name of a dag that has it as its id."""
    name = tool_name_from_dag_id(dag_id)
    assert (tool_name_from_dag_id(name) == name) == (name == dag_id)


@given(st.lists(st.text(min_size=1, max_size=100), unique=True, max_size=20))
def test_property_names_of_params_are_unique(names: list[str]) -> None:
    mapped = [property_name_from_param(name) for name in names]

    assert len(set(mapped)) == len(names)
    assert all(map(is_argument_name, mapped))


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("max-rows_2", "max-rows_2"),
        ("日期", "param_70d0c1b336"),
        ("_id", "id_b6f7460b47"),
        ("1st", "param_1st_e01ddf6594"),
        ("a.b", "a_b_2e7336dc8e"),
        ("config", "config_b79606fb3a"),
        ("model_config", "model_config_5ddc2f600b"),
        ("", "param_e3b0c44298"),
    ],
)
def test_a_param_becomes_a_property_name(param: str, name: str) -> None:
    assert property_name_from_param(param) == name


@pytest.mark.parametrize("reserved", sorted(set().union(*RESERVED_ARGUMENTS.values())))
def test_argument_name_reserved_by_a_client_is_changed(reserved: str) -> None:
    assert property_name_from_param(reserved).startswith(f"{reserved}_")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ü", "7up", "-x", "_x", "x" * 51])
def test_invalid_tool_name_is_rejected(name: str) -> None:
    assert not is_tool_name(name)
