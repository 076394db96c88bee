import pytest

from meshnb.errors import UsageError
from meshnb.report.clean import WIDGET_MEDIA
from meshnb.runbook.form import FORM_MEDIA, Form, find_parameters, form
from meshnb.runbook.parameters import MASK, parse_cell

CELL = 'source: str = "demo"  # <where> from\nhours: int = 2\nstrict: bool = False\nnames: list[str] = ["a", "b"]'


def make(live=False, cell=CELL, **values):
    namespace = {"source": "demo", "hours": 2, "strict": False, "names": ["a", "b"], **values}
    return Form(parse_cell(cell), namespace, live=live), namespace


def test_headless_form_is_a_table_of_the_present_values():
    bundle = make(source="lab")[0]._repr_mimebundle_()
    assert WIDGET_MEDIA not in bundle
    assert ">lab<" in bundle["text/html"] and "&lt;where&gt; from" in bundle["text/html"]
    assert "a, b" in bundle["text/plain"]
    assert bundle[FORM_MEDIA]["parameters"] == {"source": "lab", "hours": "2", "strict": "False", "names": "a, b"}


def test_live_form_has_fields_and_says_the_same_without_them():
    bundle = make(live=True)[0]._repr_mimebundle_()
    assert bundle[WIDGET_MEDIA]["model_id"] and ">demo<" in bundle["text/html"]


def test_apply_sets_variables_and_says_to_run_below():
    shown, namespace = make()
    said = shown.apply({"source": "lab", "hours": "3", "strict": True, "names": "c"})
    assert (namespace["source"], namespace["hours"], namespace["strict"]) == ("lab", 3, True)
    assert namespace["names"] == ["c"]
    assert said == "Set source = 'lab', hours = 3, strict = True, names = ['c']. Now run the cells below."
    assert shown.apply({"source": "lab"}) == "Nothing changed."


def test_a_wrong_value_sets_nothing():
    shown, namespace = make()
    with pytest.raises(UsageError, match="'hours'"):
        shown.apply({"source": "lab", "hours": "many"})
    assert namespace["source"] == "demo"


def test_button_of_the_live_form_applies_or_says_what_is_wrong():
    import ipywidgets

    shown, namespace = make(live=True)
    box = shown._widget()
    grid, (button, said) = box.children[0], box.children[1].children
    fields = [child for child in grid.children if not isinstance(child, ipywidgets.HTML)]
    fields[1].value = "many"
    button.click()
    assert "&#x27;many&#x27; is not a whole number" in said.value and namespace["hours"] == 2
    fields[1].value = "5"
    button.click()
    assert namespace["hours"] == 5 and "Now run the cells below." in said.value


def test_secrets_are_masked():
    shown, namespace = make(cell='token: str = ""', token="hunter22")
    bundle = shown._repr_mimebundle_()
    assert "hunter22" not in str(bundle) and MASK in bundle["text/html"]
    assert "hunter33" not in shown.apply({"token": "hunter33"}) and namespace["token"] == "hunter33"


def test_parameters_are_those_of_the_last_cell_of_nothing_else():
    cells = ["", "a: int = 1", 'b: str = "x"', "import meshnb\nmeshnb.form()", "c: int = 1\nc + 1", "d ="]
    assert [p.name for p in find_parameters(cells)] == ["b"]
    with pytest.raises(UsageError, match="no cell with parameters"):
        find_parameters(["1 + 1"])


def test_outside_a_notebook_it_says_so():
    with pytest.raises(UsageError, match="works in a notebook only"):
        form()
