"""Settings and rules: what is wrong is said with its place; the first rule that holds is taken."""

import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.rules import EVERYTHING, Match, Rule, chosen_rule
from cxr_transfer.pacs.settings import Destination, destination, node_settings

CHEST = Rule(
    name="chest",
    match=Match(modality=("CR", "DX"), body_part=("CHEST*", ""), view=("PA", "AP")),
)
FILE = """
ae = "CXR"
host = "0.0.0.0"
spool = "spool"
[[peers]]
ae = "MODALITY"
address = "10.1.0.0/16"
[[destinations]]
name = "archive"
ae = "ORTHANC"
address = "10.1.2.3"
port = 4242
[[rules]]
name = "chest"
answer_to = ["archive"]
send = ["sr"]
match = { modality = ["DX"], institution = ["*clinic*"] }
"""


def written(tmp_path, text):
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_and_options_win(tmp_path):
    path = written(tmp_path, FILE)
    settings = node_settings(path, port=0)
    assert settings.spool == tmp_path / "spool"
    assert settings.port == 0
    assert settings.destinations_of(settings.rules[0]) == ("archive",)
    assert node_settings(path, ae="OTHER").ae == "OTHER"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aet = 'X'", "aet"),
        ("port = 70000", "port"),
        ("ae = 'A_TITLE_THAT_IS_FAR_TOO_LONG'", "ae"),
        ("[[peers]]\nae = 'A'\naddress = 'nowhere'", "peers.0.address"),
        ("[[destinations]]\nname = 'a'\nae = 'A'", "destinations.0"),
        ("[[rules]]\nname = 'a'\nanswer_to = ['b']", "no destination"),
        ("[[rules]]\nname = 'a'\n[[rules]]\nname = 'a'", "one name"),
        ("[[rules]]\nname = 'a'\nsend = ['fax']", "rules.0.send"),
        ("[limits]\nobject_mb = 64\nheld_mb = 8", "held_mb"),
        ("this is no TOML", "node.toml"),
        ("port = true", "port"),
        ("port = '11555'", "port"),
        ("[limits]\nobject_mb = '64'", "limits.object_mb"),
        ("[limits]\nspool_mb = 1", "limits.spool_mb"),
        ("[[destinations]]\nname='a'\nae='A'\naddress='h'\nport=1\ntls='no'", "destinations.0.tls"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    with pytest.raises(UsageError) as refused:
        node_settings(written(tmp_path, text))
    assert refused.value.code == "bad_node_settings"
    assert said in refused.value.message


def test_others_than_this_machine_need_peers():
    with pytest.raises(UsageError) as refused:
        node_settings(host="0.0.0.0")
    assert refused.value.code == "no_peers"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError) as refused:
        node_settings(tmp_path / "none.toml")
    assert refused.value.code == "no_node_settings"


def test_a_destination_in_a_word():
    assert destination("PACS@host.example:104") == Destination(
        name="PACS", ae="PACS", address="host.example", port=104
    )
    assert destination("https://host/dicom-web").stow == "https://host/dicom-web"
    for text in ("host:104", "PACS@host", "PACS@host:99999", ""):
        with pytest.raises(UsageError) as refused:
            destination(text)
        assert refused.value.code == "bad_destination"


@pytest.mark.parametrize(
    ("header", "missed"),
    [
        ({"Modality": "DX", "BodyPartExamined": "Chest", "ViewPosition": "pa"}, ""),
        ({"Modality": "CR", "ViewPosition": "AP"}, ""),
        ({"Modality": "CT", "ViewPosition": "AP"}, "chest: modality"),
        ({"Modality": "DX", "BodyPartExamined": "HAND", "ViewPosition": "PA"}, "chest: body_part"),
        ({"Modality": "DX", "ViewPosition": "LL"}, "chest: view"),
    ],
)
def test_a_rule_holds_or_says_what_is_missing(header, missed):
    rule, reason = chosen_rule([CHEST], header)
    assert (rule, reason) == ((None, missed) if missed else (CHEST, ""))


def test_the_first_rule_that_holds_is_taken():
    other = Rule(name="other", match=Match(procedure=("*thorax*",)))
    header = {"Modality": "MR", "StudyDescription": "Roentgen Thorax"}
    assert chosen_rule([CHEST, other, EVERYTHING], header)[0] is other
    assert chosen_rule([CHEST, EVERYTHING], header)[0] is EVERYTHING
