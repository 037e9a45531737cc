"""The keys that every line is played with are found if they are anywhere."""

from tests.faults.canaries import API_KEY, leaks, processes

KEY = "0x" + "c0ffee" * 10 + "1234"


def test_leaks__planted__are_found() -> None:
    contents = {
        "clean": b"nothing",
        "upper case": KEY.upper().encode(),
        "raw": b"x" + bytes.fromhex(KEY[2:]) + b"y",
        "url": f"https://rpc.example/v3/{API_KEY}".encode(),
    }
    assert leaks(contents, [KEY]) == ["upper case", "raw", "url"]


def test_processes__any__have_a_command_line_to_look_at() -> None:
    assert any(b"pytest" in line for line in processes().values())
