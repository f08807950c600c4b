"""`voiceedge models add` and `remove`, as a person or a script uses them."""

import sys

import pytest

from tests import real
from tests.modelstore.build.tiny import write_tiny
from tests.modelstore.test_recognise import write_voice, write_whisper
from voiceedge import cli
from voiceedge.config import FIELDS, PREFIX
from voiceedge.engines import trial
from voiceedge.modelstore.store import ModelStore


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs `voiceedge models …` on a store of its own; returns (exit code, stdout, stderr)."""
    for name in FIELDS:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)

    def call(*arguments):
        command = ["voiceedge", "models", *map(str, arguments), "--home", str(tmp_path / "home")]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


@pytest.fixture
def works(monkeypatch):
    """Every model does what it should."""
    monkeypatch.setattr(trial, "try_model", lambda stage, model: f"{model.id} does its {stage}")


@pytest.fixture
def terminal(monkeypatch):
    """Somebody at the keyboard, who answers with this; gives what was asked and what was proposed."""
    asked = []

    def sit_down(answer):
        def reply(question, **options):
            asked.append((question, options.get("default")))
            return answer

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("typer.prompt", reply)
        monkeypatch.setattr("typer.confirm", reply)
        return asked

    return sit_down


def test_a_model_that_was_added_is_told_with_how_to_use_it_and_listed_as_yours(run, works, tmp_path):
    folder = write_whisper(tmp_path / "ears")
    code, out, _ = run("add", folder, "--id", "mine", "--licence", "MIT")
    assert code == 0
    assert "mine (CTranslate2 Whisper model): mine does its stt" in out
    assert "voiceedge serve --stt-model mine" in out
    assert "mine (yours)" in run("list")[1]
    assert run("verify", "mine")[0] == 0


def test_files_are_copied_unless_links_are_asked_for(run, works, tmp_path):
    folder = write_whisper(tmp_path / "ears")
    run("add", folder, "--licence", "MIT", "--copy")
    run("add", folder, "--licence", "MIT", "--link", "--id", "linked")
    files = [ModelStore(tmp_path / "home").path(name).files["model.bin"] for name in ("ears", "linked")]
    assert [file.is_symlink() for file in files] == [False, True]


def test_without_a_terminal_the_licence_has_to_be_given(run, works, tmp_path):
    code, _, err = run("add", write_whisper(tmp_path / "ears"))
    assert code == 2
    assert "no terminal to ask in; give --licence" in err
    assert "ears" not in run("list")[1]


def test_at_a_terminal_the_licence_is_asked_for(run, works, terminal, tmp_path):
    asked = terminal(" Apache-2.0 ")
    code, out, _ = run("add", write_whisper(tmp_path / "ears"))
    assert code == 0
    assert "CTranslate2 Whisper model, to be called ears" in out
    assert [proposed for _, proposed in asked] == [None]
    assert ModelStore(tmp_path / "home").catalogue.model("ears").licence == "Apache-2.0"


def test_the_licence_that_a_file_states_is_proposed(run, works, terminal, tmp_path):
    asked = terminal("MIT")
    run("add", write_tiny(tmp_path / "m.gguf", "llama", licence="apache-2.0"))
    assert [proposed for _, proposed in asked] == ["apache-2.0"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "cannot be read: No such file"),
        (lambda path: write_tiny(path, "gpt2"), "of the family 'gpt2'; only llama, qwen2"),
        (lambda path: write_voice(path, (3, 3)), "a Kokoro voice, float32 [510, 1, 256], has 522240"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_exit_code_2(run, tmp_path, make, message):
    code, out, err = run("add", make(tmp_path / "model.bin"), "--licence", "MIT")
    assert (code, out) == (2, "")
    assert err.startswith("voiceedge: ")
    assert message in err


def test_an_own_model_is_removed_with_its_manifest_and_forgotten(run, works, tmp_path):
    run("add", write_whisper(tmp_path / "ears"), "--licence", "MIT")
    code, _, err = run("remove", "ears")
    assert (code, "give --yes" in err) == (2, True)
    assert run("remove", "ears", "--yes")[0] == 0
    assert not (tmp_path / "home" / "models" / "ears").exists()
    assert "no model 'ears'" in run("verify", "ears")[2]
    assert (tmp_path / "ears" / "model.bin").exists()


def test_at_a_terminal_removing_is_asked_about(run, works, terminal, tmp_path):
    run("add", write_whisper(tmp_path / "ears"), "--licence", "MIT")
    asked = terminal(True)
    assert run("remove", "ears")[0] == 0
    ((question, _),) = asked
    assert question.startswith("Remove ears (")
    assert not (tmp_path / "home" / "models" / "ears").exists()


def test_of_a_shipped_model_the_files_go_and_the_manifest_stays(run, tmp_path):
    folder = tmp_path / "home" / "models" / "whisper-base"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"x")
    code, out, _ = run("remove", "whisper-base", "--yes")
    assert (code, "the files of whisper-base" in out) == (0, True)
    assert not folder.exists()
    assert "whisper-base" in run("list")[1]


# ── real files under other names ──────────────────────────────────────────────────────────────────────────


@pytest.mark.models
def test_a_real_gguf_file_is_added_and_answers(run, tmp_path):
    files = real.local_model("smollm2-135m-instruct").files
    code, out, _ = run("add", next(iter(files.values())), "--id", "my-mind", "--licence", "Apache-2.0", "--link")
    assert code == 0
    assert "Paris" in out
    assert ModelStore(tmp_path / "home").path("my-mind").build is not None


@pytest.mark.models
def test_a_real_whisper_folder_is_added_and_hears(run):
    code, out, _ = run("add", real.local_model("whisper-tiny.en").folder, "--id", "my-ears", "--licence", "MIT")
    assert code == 0
    assert "it hears “Good morning" in out


@pytest.mark.models
def test_a_damaged_gguf_file_leaves_nothing(run, tmp_path):
    whole = next(iter(real.local_model("smollm2-135m-instruct").files.values())).read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    code, _, err = run("add", tmp_path / "half.gguf", "--licence", "MIT")
    assert code == 2
    assert "half.gguf cannot be read as a GGUF file" in err
    assert not list((tmp_path / "home").rglob("*half*"))
