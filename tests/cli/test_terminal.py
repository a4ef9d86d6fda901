"""What somebody at a terminal sees, and what they are asked."""

import msgspec
import pytest

from schemas.job import JobCommitStarted, JobCompleted, JobStarted
from schemas.live import ActiveFile, Tick
from tests.cli.fake_gateway import JOB, MIB, NOW, TOKEN, FakeGateway, job_row
from tests.cli.terminal import Screen, terminal


def tick(done: int, note: str = "", files: int = 1) -> Tick:
    active = tuple(ActiveFile(f"part-{n}.safetensors", done // 2, 50 * MIB) for n in range(files))
    return Tick(
        JOB, "default", 1, "w1", NOW, "fetch", done, 100 * MIB, 0, 2, 10.0 * MIB, active, note
    )


def test_the_screen_of_these_tests_is_drawn_over_in_place() -> None:
    screen = Screen()

    screen.write("one\r\ntwo\r\n\r\x1b[2A\x1b[2Ka\r\n\x1b[J")

    assert screen.lines == ["a", ""]


def test_an_install_is_drawn_in_place(gateway: FakeGateway) -> None:
    gateway.put(job_row(status="running", attempt=1))
    with terminal("jobs", "watch", JOB, "--no-color") as shown:
        gateway.subscribed()
        gateway.tick(tick(30 * MIB, files=2))
        shown.says("part-1.safetensors")
        assert shown.screen[:2] == [
            "install org/model  fetch",
            "━━━━━────────────   30%  30.0 MiB of 100.0 MiB  10.0 MiB/s  7s left  0/2 files",
        ]
        assert "part-0.safetensors" in shown.screen[2]
        assert "part-1.safetensors" in shown.screen[3]

        gateway.tick(tick(100 * MIB, note="stalled 12s, retry 1/6 in 4s"))
        shown.says("retry 1/6 in 4s")
        assert shown.screen[3] == "  stalled 12s, retry 1/6 in 4s"
        gateway.happen(JobCommitStarted(job=JOB, attempt=1, manifest="m"))
        shown.says("commit")
        assert "100%" not in shown.output

        done = JobCompleted(job=JOB, attempt=1, bytes=100 * MIB, files=2)
        gateway.happen(done, status="completed", bytes_done=100 * MIB, finished_at=NOW)
        assert shown.exit() == 0

    assert shown.screen[0] == "install org/model  completed"
    assert shown.screen[1].startswith("━" * 17 + "  100%  100.0 MiB  2/2 files")
    assert shown.screen[2].startswith("JOB")
    assert shown.screen[3].startswith(JOB)
    assert len(shown.screen) == 5


def test_status_words_have_colours_and_can_do_without(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.put(job_row(status="failed"))

    with terminal("jobs", "list") as coloured:
        coloured.exit()
    with terminal("jobs", "list", "--no-color") as plain:
        plain.exit()
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal("jobs", "list") as said:
        said.exit()

    assert "\x1b[31mfailed\x1b[0m" in coloured.output
    assert "\x1b" not in plain.output + said.output


def test_a_narrow_terminal_is_not_overflown(gateway: FakeGateway) -> None:
    gateway.put(job_row(status="running", attempt=1, target="a" * 30))
    with terminal("jobs", "watch", JOB, "--no-color", columns=40) as shown:
        gateway.subscribed()
        gateway.tick(tick(30 * MIB))
        shown.says("30%")

        assert all(len(line) <= 40 for line in shown.screen)


def test_ctrl_c_detaches_and_says_how_to_come_back(gateway: FakeGateway) -> None:
    with terminal("weights", "install", "org/model", "--watch") as shown:
        gateway.subscribed()
        gateway.happen(JobStarted(job=JOB, attempt=1, worker="w1"), status="running")
        shown.says("started")
        shown.interrupt()

        assert shown.exit() == 130

    assert f"mllm jobs watch {JOB}" in shown.output
    assert f"mllm jobs cancel {JOB}" in shown.output
    assert "Traceback" not in shown.output
    assert [seen.path for seen in gateway.seen if seen.method == "POST"] == ["/weights/install"]


def test_ctrl_c_ends_a_tail_quietly(gateway: FakeGateway) -> None:
    with terminal("events", "tail") as shown:
        gateway.subscribed()
        shown.interrupt()

        assert shown.exit() == 130

    assert shown.output.strip() in ("", "^C")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1)])
def test_what_can_not_be_undone_is_asked_about(
    gateway: FakeGateway, answer: str, code: int
) -> None:
    with terminal("weights", "delete", "org/model") as shown:
        shown.says("This will delete the weights org/model in namespace default. Go on? [y/N]")
        shown.type(answer)

        assert shown.exit() == code

    assert len(gateway.seen) == (1 if code == 0 else 0)


def test_a_secret_is_typed_without_being_shown(gateway: FakeGateway) -> None:
    with terminal("secrets", "set", "hub") as shown:
        shown.says("Value of hub: ")
        shown.type("hf_s3cret\n")

        assert shown.exit() == 0

    assert gateway.secrets == {"hub": "hf_s3cret"}
    assert "hf_s3cret" not in shown.output


def test_a_login_asks_for_what_is_not_said(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLLM_SERVER")
    monkeypatch.delenv("MLLM_TOKEN")
    with terminal("login") as shown:
        shown.says("Server [http://127.0.0.1:8080]: ")
        shown.type(f"{gateway.url}\n")
        shown.says("Token for ")
        shown.type(f"{TOKEN}\n")

        assert shown.exit() == 0

    assert TOKEN not in shown.output
    with terminal("config", "current-context") as context:
        context.exit()
    assert context.output.split() == ["local"]


def test_a_program_reads_plain_lines_from_a_pipe_even_here(gateway: FakeGateway) -> None:
    with terminal("jobs", "list", "-o", "json") as shown:
        assert shown.exit() == 0

    assert msgspec.json.decode(shown.output) == {"items": []}
