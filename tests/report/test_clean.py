import books

from meshnb.report.clean import clean

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"


def test_secrets_are_masked_in_every_place_and_counted():
    notebook = books.notebook(
        books.code('token = "hunter22"', tags=("injected-parameters",)),
        books.code(
            f'key = """{PEM}"""', books.shown({"text/plain": ["a hunter22\n"], "application/json": {"hunter22": [PEM]}})
        ),
        books.code("1/0", books.failed("E", "Authorization: Bearer abcdefgh12345678")),
    )
    struck = clean(notebook, secrets=["hunter22", ""])
    text = str(notebook)
    assert "hunter22" not in text and "MIIEow" not in text and "abcdefgh12345678" not in text
    assert struck == {"secret-parameter": 3, "private-key": 2, "authorization": 2}


def test_a_short_secret_is_masked_where_it_was_injected_and_not_in_every_word():
    notebook = books.notebook(books.code('pin = "ab"', tags=("injected-parameters",)), books.code("about()"))
    clean(notebook, secrets=["ab"])
    assert notebook.cells[0].source == 'pin = "[masked]"' and notebook.cells[1].source == "about()"


def test_nothing_else_changes():
    notebook = books.notebook(books.markdown("# Title"), books.code("x", books.shown({"text/plain": "plain"})))
    before = str(notebook)
    assert clean(notebook) == {} and str(notebook) == before
