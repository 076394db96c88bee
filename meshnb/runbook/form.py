"""The form of a notebook's parameters: fields in a live notebook, a plain table where nobody can type."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, MutableMapping
from html import escape
from typing import Any

from meshnb.errors import FormatError, UsageError
from meshnb.runbook.parameters import MASK, Parameter, parse_cell
from meshnb.views.style import html_table, page, text_table

FORM_MEDIA = "application/vnd.meshnb.form+json"
"""Media type that marks a form in an executed notebook; a report shows the parameters at its top instead."""


class Form:
    """Parameters with their present values. Made by `form`.

    Args:
        parameters: what the notebook declares.
        namespace: where the values live: the variables of the notebook.
        live: whether someone sits in front who can type.
    """

    def __init__(
        self, parameters: tuple[Parameter, ...], namespace: MutableMapping[str, Any], *, live: bool = False
    ) -> None:
        self.parameters = parameters
        self.live = live
        self._namespace = namespace

    @property
    def values(self) -> dict[str, Any]:
        """Present values by name; secret ones are masked."""
        return {p.name: MASK if p.secret else self._namespace.get(p.name, p.default) for p in self.parameters}

    def apply(self, values: Mapping[str, Any]) -> str:
        """Set variables of the notebook.

        Args:
            values: by parameter name, as texts or Python values.

        Returns:
            What was done, for the user.

        Raises:
            UsageError: unknown name, or a value that does not fit; then nothing is set.
        """
        from meshnb.runbook.parameters import convert

        changed = {
            name: value
            for name, value in convert(self.parameters, values).items()
            if value != self._namespace.get(name)
        }
        self._namespace.update(changed)
        if not changed:
            return "Nothing changed."
        secret = {p.name for p in self.parameters if p.secret}
        said = ", ".join(f"{name} = {MASK if name in secret else repr(value)}" for name, value in changed.items())
        return f"Set {said}. Now run the cells below."

    def __repr__(self) -> str:
        return text_table(["parameter", "value", "meaning"], self._rows()) if self.parameters else "no parameters"

    def _rows(self) -> list[list[Any]]:
        return [[p.name, _shown(self.values[p.name]), p.help] for p in self.parameters]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        caption = '<b>Parameters</b><span class="dim">set in the cell above, or with meshnb run -p name=value</span>'
        bundle: dict[str, Any] = {
            "text/plain": repr(self),
            "text/html": page(html_table(["parameter", "value", "meaning"], self._rows(), caption=caption)),
            FORM_MEDIA: {"version": 1, "parameters": {name: _shown(value) for name, value in self.values.items()}},
        }
        if self.live and self.parameters and (widget := self._widget()) is not None:
            bundle.update(widget._repr_mimebundle_())
        return bundle

    def _widget(self) -> Any:
        """The fields with a button, or `None` without ipywidgets: the table still shows everything."""
        try:
            import ipywidgets as w
        except ImportError:
            return None
        fields = {p.name: _field(w, p, self._namespace.get(p.name, p.default)) for p in self.parameters}
        cells: list[Any] = []
        for p in self.parameters:
            cells += [w.HTML(f"<b>{escape(p.name)}</b>"), fields[p.name], w.HTML(escape(p.help))]
        grid = w.GridBox(cells, layout=w.Layout(grid_template_columns="max-content minmax(14em, 24em) auto",
                                                grid_gap="0 1em", align_items="center"))  # fmt: skip
        button, said = w.Button(description="Apply", button_style="primary", icon="check"), w.HTML()

        def on_click(_: object) -> None:
            try:
                said.value = escape(self.apply({name: field.value for name, field in fields.items()}))
            except UsageError as error:
                said.value = f"<b>{escape(str(error))}</b>"

        button.on_click(on_click)
        return w.VBox([grid, w.HBox([button, said], layout=w.Layout(align_items="center"))])


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _field(w: Any, parameter: Parameter, value: Any) -> Any:
    """The field for a parameter; numbers are typed as text, so what is wrong can be said."""
    wide = w.Layout(width="auto")
    if parameter.type == "bool":
        return w.Checkbox(value=bool(value), indent=False, layout=wide)
    if parameter.secret:
        return w.Password(value=str(value), layout=wide)
    hint = "several, with commas between" if parameter.type == "list[str]" else ""
    return w.Text(value=_shown(value), placeholder=hint, layout=wide, continuous_update=False)


def form() -> Form:
    """The parameters of the notebook this is called in, to be changed in place.

    They are those of the last cell run before it that holds nothing but `name: type = value` lines. In a live notebook
    the form has fields, and `Apply` sets the variables; run headless it is a table. Nothing is run by itself.

    Returns:
        The form; displays itself.

    Raises:
        UsageError: not in a notebook, or no such cell was run.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise UsageError("form() works in a notebook only", hint="see the parameters with: meshnb show NAME")
    parameters = find_parameters(shell.user_ns.get("In", ()))
    return Form(parameters, shell.user_ns, live=_is_live(shell))


def find_parameters(cells: Iterable[str]) -> tuple[Parameter, ...]:
    """Parameters of the last of the cells that holds nothing else.

    Raises:
        UsageError: there is none.
    """
    for source in reversed(list(cells)):
        try:
            body = ast.parse(source).body
        except SyntaxError:
            continue
        if body and all(isinstance(node, ast.AnnAssign) for node in body):
            try:
                return parse_cell(source)
            except FormatError:
                continue
    raise UsageError("no cell with parameters was run before", hint='run one first, such as: source: str = "demo"')


def _is_live(shell: Any) -> bool:
    """Whether the front end has someone to ask: JupyterLab and VS Code allow input, headless runners do not."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    parent = kernel.get_parent("shell") or {}
    return bool(parent.get("content", {}).get("allow_stdin"))
