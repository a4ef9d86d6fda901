from cli.tables import Column, Table, View, facts, printable, width

PAIRS: View[tuple[str, str]] = View(
    "pair",
    lambda row: row[0],
    (
        Column("NAME", lambda row: row[0]),
        Column("STATUS", lambda row: row[1]),
        Column("BOTH", "".join, wide=True),
    ),
)


def test_columns_are_aligned_under_their_titles() -> None:
    lines = Table(PAIRS).lines([("a", "running"), ("longer-name", "failed")])

    assert lines == [
        "NAME          STATUS",
        "a             running",
        "longer-name   failed",
    ]


def test_wide_tables_have_more_columns() -> None:
    assert Table(PAIRS, wide=True).lines([("a", "b")]) == [
        "NAME   STATUS   BOTH",
        "a      b        ab",
    ]


def test_colour_does_not_move_a_column() -> None:
    [_, line] = Table(PAIRS, wide=True, colour=True).lines([("a", "failed")])

    assert line == "a      \x1b[31mfailed\x1b[0m   afailed"


def test_wide_characters_take_two_columns() -> None:
    lines = Table(PAIRS).lines([("模型", "ok"), ("abcd", "ok")])

    assert [width(line) for line in lines] == [13, 9, 9]


def test_rows_that_come_later_have_no_titles_and_the_same_columns() -> None:
    table = Table(PAIRS)
    table.lines([("a-long-name", "b")])

    assert table.lines([("a", "b")]) == ["a             b"]


def test_a_name_from_a_stranger_can_not_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\n") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}"


def test_facts_without_a_value_are_left_out() -> None:
    assert facts([("Name", "x"), ("Code", ""), ("Status", "ok")]) == "Name:    x\nStatus:  ok"
