"""Who makes traces readable: a chat server that fails in every way, and a local checkpoint."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from models import qwen2_policy

from r1core.stages.chat_model import ChatModelConfig, endpoint, load_function, local_model
from r1core.stages.rewrite import load_rewriter, thinking_of

ROW = {"prompt": "What is 3 + 4?", "completion": "<think> 3 4 7 </think><answer> 7</answer>"}


class Server(BaseHTTPRequestHandler):
    """Answers each request by the next of `server.replies`: a text, a status or raw bytes."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.paths.append(self.path)
        self.server.seen.append((self.headers.get("Authorization"), request))
        reply = self.server.replies.pop(0) if self.server.replies else "fine"
        if callable(reply):
            reply = reply()
        if isinstance(reply, int):
            return self.say(reply, b'{"error": "busy"}')
        if isinstance(reply, bytes):
            return self.say(200, reply)
        finish = "length" if reply == "cut" else "stop"
        choice = {"index": 0, "finish_reason": finish, "message": message(reply)}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
        body |= {"choices": [choice], "usage": {}}
        return self.say(200, json.dumps(body).encode())

    def say(self, status, data):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def message(text):
    return {"role": "assistant", "content": text}


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    made.seen, made.paths, made.replies = [], [], []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def config(server, **settings):
    address = f"http://127.0.0.1:{server.server_port}/v1"
    return ChatModelConfig(endpoint=address, model="m", workers=1, **settings)


def test_thinking_and_summary_are_asked_for_in_turn(server):
    server.replies = ["I add 3 and 4.", "It is \\boxed{7}."]
    assert load_rewriter(config(server))([ROW]) == [
        "<think>\nI add 3 and 4.\n</think>\nIt is \\boxed{7}."
    ]
    (_, first), (_, second) = server.seen
    asked = [request["messages"][-1]["content"] for request in (first, second)]
    assert all("What is 3 + 4?" in text and "3 4 7" in text for text in asked)
    assert asked[0].startswith("Rewrite") and asked[1].startswith("Summarise")
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("m", 2048, 0.6)


@pytest.mark.parametrize("failures", [[429], [500], [429, 503]])
def test_a_busy_server_is_asked_again(server, failures):
    server.replies = [*failures, "fine"]
    assert endpoint(config(server, pause_seconds=0.01))(["x"]) == ["fine"]
    assert len(server.seen) == len(failures) + 1


UNUSABLE = [
    b"{not json",
    b"\xff",
    b"{}",
    b"[]",
    b'{"choices": []}',
    b'{"choices": [1]}',
    b'{"choices": [{"message": {}}]}',
    b'{"choices": [{"message": {"content": 7}}]}',
]


@pytest.mark.parametrize("reply", [*UNUSABLE, "", None, "cut"])
def test_an_answer_that_is_none_drops_the_row_alone_and_at_once(server, reply):
    server.replies = [reply, "fine"]
    asked = endpoint(config(server))(["x", "y"])
    assert asked == [None, "fine"] and len(server.seen) == 2


def test_a_reason_to_finish_may_be_missing(server):
    server.replies = [b'{"choices": [{"message": {"content": "fine"}}]}']
    assert endpoint(config(server))(["x"]) == ["fine"]


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/v3", "/api/v3/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1?version=2", "/v1/chat/completions?version=2"),
    ],
)
def test_an_address_is_completed(server, address, path):
    where = f"http://127.0.0.1:{server.server_port}{address}"
    assert endpoint(ChatModelConfig(endpoint=where, model="m"))(["x"]) == ["fine"]
    assert server.paths == [path]


def test_a_rewrite_without_its_summary_drops_the_row(server):
    server.replies = ["I add.", "I add.", "", "It is 7."]
    rewritten = load_rewriter(config(server, attempts=1))([ROW, ROW])
    assert rewritten == [None, "<think>\nI add.\n</think>\nIt is 7."]


def test_a_server_that_hangs_is_left(server):
    done = threading.Event()

    def hang():
        done.wait(5)
        return "late"

    server.replies = [hang]
    assert endpoint(config(server, attempts=1, timeout_seconds=0.2))(["x"]) == [None]
    done.set()


def test_a_server_that_is_not_there_or_refuses_stops_the_stage(server):
    nowhere = ChatModelConfig(endpoint="http://127.0.0.1:9/v1", model="m", pause_seconds=0.01)
    with pytest.raises(ConnectionError, match=r"http://127.0.0.1:9/v1 .*cannot be reached.*start"):
        endpoint(nowhere)(["x"])
    tls = f"https://127.0.0.1:{server.server_port}/v1"
    with pytest.raises(ConnectionError, match="cannot be reached"):
        endpoint(ChatModelConfig(endpoint=tls, model="m", pause_seconds=0.01))(["x"])
    server.replies = [401]
    with pytest.raises(ConnectionError, match=r"answers 401.*OPENAI_API_KEY"):
        endpoint(config(server))(["x"])
    server.replies = [404]
    with pytest.raises(ConnectionError, match=r"answers 404.*model 'm'"):
        endpoint(config(server))(["x"])


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret")
    settings = config(server, api_key_variable="MY_KEY")
    endpoint(settings)(["x"])
    assert server.seen[0][0] == "Bearer s3cret"
    assert "s3cret" not in settings.model_dump_json()
    server.replies = [401]
    with pytest.raises(ConnectionError) as error:
        endpoint(settings)(["x"])
    assert "s3cret" not in str(error.value) and "MY_KEY" in str(error.value)
    monkeypatch.setenv("MY_KEY", " s3cret\n")
    endpoint(settings)(["x"])
    assert server.seen[-1][0] == "Bearer s3cret"
    monkeypatch.setenv("MY_KEY", "s3cr\xe9t")
    with pytest.raises(ValueError, match="MY_KEY must hold a key of printable ASCII") as error:
        endpoint(settings)
    assert "s3cr" not in str(error.value)


def test_a_local_checkpoint_answers_or_is_cut_off(tmp_path):
    qwen2_policy().save_pretrained(tmp_path)
    ask = local_model(ChatModelConfig(path=str(tmp_path), max_new_tokens=4))
    answers = ask(["Hello", "What is 3 + 4?"])
    assert len(answers) == 2
    assert all(answer is None or isinstance(answer, str) for answer in answers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of function, endpoint and path"),
        ({"function": "a:b", "path": "x"}, "exactly one of function, endpoint and path"),
        ({"endpoint": "http://x"}, "model must name the model behind the endpoint"),
        ({"function": "no colon"}, "String should match pattern"),
        ({"endpoint": "127.0.0.1:8000/v1", "model": "m"}, "String should match pattern"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ChatModelConfig(**settings)


def test_a_function_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="'json:lods' must name a function"):
        load_function("json:lods")


def test_only_what_stands_in_the_tags_is_thinking():
    assert thinking_of(ROW["completion"]) == "3 4 7"
    assert thinking_of("no tags") == "no tags"
