from pathlib import Path

import msgspec
import pytest

from cli.config import read_settings
from cli.exits import Exit
from cli.failures import Misused
from cli.settings import FIELDS, VARIABLES, Settings, hub_token, load

HOME = {"HOME": "/home/someone"}


def refused(environ: dict[str, str], file: dict[str, object] | None = None) -> Misused:
    with pytest.raises(Misused) as raised:
        load({}, HOME | environ, file or {})
    assert raised.value.exit == Exit.USAGE
    return raised.value


def test_nothing_said_means_the_defaults() -> None:
    settings = load({}, HOME, {})

    assert settings.port == 8080
    assert settings.disk_reserve == 2 << 30
    assert settings.data_dir == Path("/home/someone/.local/share/mllm")
    assert settings.weights_dir == settings.data_dir / "weights"
    assert settings.hf_endpoint == "https://huggingface.co"
    assert settings.otlp_endpoint == ""


def test_a_flag_goes_before_a_variable_before_the_file() -> None:
    file: dict[str, object] = {"port": 1, "slots": 3, "attempts": 7}
    environ = HOME | {"MLLM_PORT": "2", "MLLM_SLOTS": "4"}

    settings = load({"port": 3, "host": None}, environ, file)

    assert (settings.port, settings.slots, settings.attempts) == (3, 4, 7)
    assert settings.host == "127.0.0.1"


def test_weights_lie_below_the_data_unless_said_otherwise() -> None:
    assert load({"data_dir": "/data"}, HOME, {}).weights_dir == Path("/data/weights")
    assert load({}, HOME | {"MLLM_WEIGHTS_DIR": "/w"}, {}).weights_dir == Path("/w")


def test_the_data_directory_follows_xdg() -> None:
    assert load({}, HOME | {"XDG_DATA_HOME": "/x"}, {}).data_dir == Path("/x/mllm")


def test_sizes_take_units() -> None:
    environ = HOME | {"MLLM_DISK_RESERVE": "500MB", "MLLM_BANDWIDTH": "40 MB/s"}

    settings = load({}, environ, {})

    assert (settings.disk_reserve, settings.bandwidth) == (500_000_000, 40_000_000)


def test_an_unknown_variable_is_named_with_the_nearest_known_one() -> None:
    error = refused({"MLLM_DISK_RESRVE": "1"})

    assert error.cause == "MLLM_DISK_RESRVE is not a setting"
    assert error.remedy == "did you mean MLLM_DISK_RESERVE?"


def test_an_unknown_setting_of_the_file_is_named_with_the_nearest_known_one() -> None:
    error = refused({}, {"disk_resrve": 1})

    assert error.cause == "settings.disk_resrve is not a setting"
    assert error.remedy == "did you mean disk_reserve?"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MLLM_PORT", "eighty"),
        ("MLLM_PORT", "70000"),
        ("MLLM_PORT", ""),
        ("MLLM_SLOTS", "0"),
        ("MLLM_LEASE_SECONDS", "-1"),
        ("MLLM_LEASE_SECONDS", "nan"),
        ("MLLM_DISK_RESERVE", "much"),
        ("MLLM_RUNTIME", "docker"),
        ("MLLM_LOG_LEVEL", "loud"),
        ("MLLM_XET", "yes"),
        ("MLLM_STORE", "Not A Store"),
        ("MLLM_STREAM_PREFIX", "a.b"),
        ("MLLM_DEBUG", "perhaps"),
        ("MLLM_DATA_DIR", ""),
        ("MLLM_SERVER", "localhost:8080"),
        ("HF_ENDPOINT", "huggingface.co"),
        ("MLLM_NATS_URL", "foo"),
        ("MLLM_NATS_URL", "http://x"),
        ("MLLM_NATS_URL", "nats://x:y"),
        ("MLLM_DATABASE_URL", "bar"),
        ("MLLM_DATABASE_URL", "sqlite://x"),
        ("MLLM_DATABASE_URL", "hostt=x"),
    ],
)
def test_a_malformed_variable_is_named(variable: str, text: str) -> None:
    assert refused({variable: text}).cause.startswith(f"{variable} is malformed")


@pytest.mark.parametrize(
    ("variable", "text", "remedy"),
    [
        ("MLLM_RUNTIME", "docker", "use process or kserve"),
        ("MLLM_STORE", "A B", "use lower-case letters, digits and dashes"),
        ("MLLM_STREAM_PREFIX", "a.b", "use letters, digits and dashes"),
        ("MLLM_PORT", "eighty", "Expected a whole number"),
        ("MLLM_PORT", "70000", "Expected a whole number <= 65535"),
        ("MLLM_DEBUG", "perhaps", "Expected true or false"),
    ],
)
def test_what_a_setting_may_be_is_said_for_people(variable: str, text: str, remedy: str) -> None:
    assert refused({variable: text}).remedy == remedy


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MLLM_SERVER", "ftp://user:hunter2@host"),
        ("MLLM_NATS_URL", "nats://user:hunter2/@host"),
        ("MLLM_DATABASE_URL", "user:hunter2@host"),
    ],
)
def test_a_malformed_secret_is_not_shown(variable: str, text: str) -> None:
    error = refused({variable: text})

    assert "hunter2" not in error.cause + error.remedy


def test_the_first_administrators_token_is_one_that_can_be_sent() -> None:
    assert load({}, HOME | {"MLLM_API_TOKEN": "from-a-file\n"}, {}).api_token == "from-a-file"

    error = refused({"MLLM_API_TOKEN": "hunter2 hunter2 hunter2"})

    assert error.cause == "MLLM_API_TOKEN is malformed"
    assert "without spaces" in error.remedy
    assert "hunter2" not in error.remedy


@pytest.mark.parametrize(
    "text", ["postgresql:///mllm", "postgres://u:p@h:5432/d?sslmode=disable", "host=h dbname=d"]
)
def test_a_database_is_named_as_postgres_has_it(text: str) -> None:
    assert load({}, HOME | {"MLLM_DATABASE_URL": text}, {}).database_url == text


def test_what_kubernetes_puts_beside_a_service_is_explained() -> None:
    for name in ("MLLM_PORT", "MLLM_SERVICE_HOST", "MLLM_PORT_8080_TCP"):
        assert "enableServiceLinks" in refused({name: "tcp://10.0.0.1:8080"}).remedy


def test_a_heartbeat_has_to_fit_into_its_lease() -> None:
    long = {"MLLM_LEASE_SECONDS": "3", "MLLM_HEARTBEAT_SECONDS": "2"}

    assert load({}, HOME | {"MLLM_LEASE_SECONDS": "1"}, {}).heartbeat_seconds == 0.4
    assert "MLLM_HEARTBEAT_SECONDS" in refused(long).cause


def test_variables_of_other_programs_mean_what_they_mean_there() -> None:
    environ = HOME | {
        "HF_ENDPOINT": "http://mirror:1234/",
        "HF_TOKEN": "hf_x",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    }

    settings = load({}, environ, {})

    assert settings.hf_endpoint == "http://mirror:1234"
    assert settings.hf_token == "hf_x"
    assert settings.otlp_endpoint == "http://collector:4318"


def test_an_empty_variable_of_another_program_is_not_set() -> None:
    assert load({}, HOME | {"HF_ENDPOINT": ""}, {}).hf_endpoint == "https://huggingface.co"


def test_the_hub_token_is_found_where_its_own_programs_keep_it(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "token").write_text("hf_cached\n")

    assert hub_token({"HOME": str(tmp_path)}) == "hf_cached"
    assert hub_token({"HOME": str(tmp_path), "HF_TOKEN": "hf_said"}) == "hf_said"
    assert hub_token({"HOME": str(tmp_path / "elsewhere")}) == ""


def test_no_secret_is_in_what_settings_look_like() -> None:
    settings = load(
        {},
        HOME
        | {
            "MLLM_API_TOKEN": "s3cret",
            "MLLM_SECRET_KEY": "s3cret",
            "MLLM_TOKEN": "s3cret",
            "HF_TOKEN": "s3cret",
            "MLLM_DATABASE_URL": "postgresql://mllm:s3cret@db/mllm",
            "MLLM_NATS_URL": "nats://mllm:s3cret@nats:4222",
        },
        {},
    )

    assert "s3cret" not in repr(settings) + str(settings)
    assert "@db/mllm" in repr(settings)


def test_every_setting_is_explained() -> None:
    explained = Settings.__doc__ or ""

    assert [name for name in FIELDS if name not in explained] == []
    assert all(name.startswith(("MLLM_", "HF_", "OTEL_")) for name in VARIABLES)


def test_what_a_role_needs_is_asked_for_by_its_variable() -> None:
    settings = load({}, HOME | {"MLLM_NATS_URL": "nats://x"}, {})

    settings.require("nats_url")
    with pytest.raises(Misused, match="MLLM_DATABASE_URL is not set"):
        settings.require("nats_url", "database_url")


def test_settings_are_read_from_the_configuration_file(home: Path) -> None:
    path = home / ".config" / "mllm" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("settings:\n  disk_reserve: 4GiB\n  slots: 5\n  xet: off\n")

    settings = read_settings({}, {"HOME": str(home)})

    assert (settings.disk_reserve, settings.slots, settings.xet) == (4 << 30, 5, "off")


def test_settings_can_be_changed_only_by_making_others() -> None:
    settings = load({}, HOME, {})

    assert msgspec.structs.replace(settings, port=1).port == 1
    with pytest.raises(AttributeError):
        settings.port = 2  # type: ignore[misc]  # that is the point
