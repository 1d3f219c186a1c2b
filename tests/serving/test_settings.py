import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.serving.server import serve
from cxr_transfer.serving.server_options import settings

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "images.example"])
def test_only_loopback_does_without_a_token(host):
    with pytest.raises(UsageError) as caught:
        settings(host)
    assert caught.value.code == "no_token"
    assert settings(host, token=TOKEN).tokens == {"token": TOKEN}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_answers_to_its_own_names_only(host):
    chosen = settings(host)
    assert chosen.tokens == {}
    assert {host, "localhost"} <= set(chosen.allowed_hosts)
    assert "images.example" not in chosen.allowed_hosts


def test_another_name_shuts_out_none_of_loopbacks():
    chosen = settings("127.0.0.2", allowed_hosts=("Images.Example",))
    own = {"localhost", "127.0.0.1", "::1"}
    assert set(chosen.allowed_hosts) == own | {"127.0.0.2", "images.example"}
    chosen = settings("0.0.0.0", token=TOKEN, allowed_hosts=("images.example",))
    assert set(chosen.allowed_hosts) == own | {"images.example"}
    assert settings("0.0.0.0", token=TOKEN).allowed_hosts == ()


def test_the_environment_may_hold_the_token(monkeypatch):
    monkeypatch.setenv("CXR_TOKEN", TOKEN)
    assert settings("0.0.0.0").tokens == {"token": TOKEN}
    assert settings("0.0.0.0", token="another-long-token").tokens == {"token": "another-long-token"}


@pytest.mark.parametrize("token", ["", "short", "with spaces in the middle", "ein-schlüssel-wort"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token):
    with pytest.raises(UsageError) as caught:
        settings(token=token)
    assert caught.value.code == "bad_token"
    assert not token or token not in caught.value.message


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_are_ports(port):
    with pytest.raises(UsageError) as caught:
        settings(port=port)
    assert caught.value.code == "bad_port"


@pytest.mark.parametrize("given", [{"models": "model_3"}, {"allowed_hosts": "images.example"}])
def test_one_name_where_a_list_is_meant_is_not_taken_letter_by_letter(given):
    with pytest.raises(TypeError, match="Expected a list of"):
        serve(**given)
