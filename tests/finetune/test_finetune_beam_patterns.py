"""OTP and framework patterns: labelled from the syntax, asked for with the own name masked, on held-out files."""

import numpy as np
import pytest

from codekin.finetune.beam_evaluation import MIN_PATTERN_QUERIES, build_pattern_set, compare_patterns
from codekin.finetune.dataset.functions import BEAM, language_family, select_samples, split_by_file
from codekin.parsing import cut_chunks
from codekin.ranking.beam_patterns import mask_own_name, pattern_family, pattern_of

SOURCE = """
defmodule AppWeb.UserController do
  use AppWeb, :controller
  def index(conn, _params) do
    users = Accounts.list()
    render(conn, :index, users: users)
  end
  def helper(conn, _params) do
    conn
  end
end
defmodule App.W do
  use Oban.Worker
  @impl true
  def perform(%Oban.Job{args: args}) do
    run(args)
    :ok
  end
end
defmodule App.Sup do
  use Supervisor
  @doc "Starts the children."
  def init(arg) do
    children = [App.W]
    Supervisor.init(children, strategy: :one_for_one)
  end
end
defmodule AppWeb.PageLive do
  use AppWeb, :live_view
  @impl true
  def mount(_params, _session, socket) do
    {:ok, assign(socket, :page, 1)}
  end
end
defmodule App.User do
  use Ecto.Schema
  def changeset(user, attrs) do
    user |> cast(attrs, [:name]) |> validate_required([:name])
  end
end
"""


@pytest.fixture(scope="module")
def labelled():
    return {chunk.name: chunk for chunk in cut_chunks("lib/a.ex", SOURCE)[0] if chunk.kind == "function"}


@pytest.mark.parametrize(
    ("name", "pattern", "family"),
    [
        ("AppWeb.UserController.index/2", "Controller.index/2", "controllers"),
        ("AppWeb.UserController.helper/2", "", ""),
        ("App.W.perform/1", "Oban.Worker.perform/1", "Oban"),
        ("App.Sup.init/1", "Supervisor.init/1", "supervisors"),
        ("AppWeb.PageLive.mount/3", "Phoenix.LiveView.mount/3", "LiveView"),
        ("App.User.changeset/2", "Ecto.Schema.changeset/2", "Ecto"),
    ],
)
def test_a_function_is_labelled_with_what_it_implements(labelled, name, pattern, family):
    """A callback with its owner, also where the project's own `use` hides it; a helper has no label."""
    assert pattern_of(labelled[name]) == pattern
    assert not pattern or pattern_family(pattern) == family


def test_the_own_name_and_documentation_are_masked(labelled):
    """Other calls of the same name stay: they belong to other modules."""
    masked = mask_own_name(labelled["App.Sup.init/1"])
    assert masked.splitlines()[0].strip() == "def callback(arg) do"
    assert ("Starts" in masked, "Supervisor.init(children" in masked) == (False, True)


def server(number: int) -> str:
    """A server with two callbacks."""
    return f"""
defmodule App.Server{number} do
  use GenServer
  @impl true
  def handle_call({{:get, key}}, _from, state) do
    found = Map.get(state, key)
    {{:reply, {{found, {number}}}, state}}
  end
  @impl true
  def handle_info(:tick, state) do
    schedule({number})
    {{:noreply, state}}
  end
end
"""


@pytest.fixture(scope="module")
def servers():
    chunks = [chunk for at in range(40) for chunk in cut_chunks(f"lib/server{at}.ex", server(at))[0]]
    return split_by_file(select_samples(chunks), 0.3)


def embed_by(words):
    """Vectors that tell texts apart by these words alone."""

    def embed(texts):
        rows = np.array([[text.count(word) + 0.1 for word in words] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return embed


def test_a_model_that_knows_the_patterns_answers_them(servers):
    """What replies and what does not is the pattern here; a model that sees neither guesses."""
    train, held_out = servers
    models = {
        "base": embed_by(["zzz", "yyy"]),
        "before": embed_by(["zzz", "yyy"]),
        "after": embed_by([":reply", "tick"]),
    }
    found = compare_patterns(held_out, train, models)
    assert found["after"] == {"accuracy1": 1.0, "accuracy5": 1.0, "triplets": 1.0}
    assert found["before"]["accuracy1"] < 0.9
    assert found["before"]["triplets"] == 0
    assert found["families"] == {
        "OTP servers": {
            "queries": found["queries"],
            "base": found["base"]["accuracy1"],
            "before": found["before"]["accuracy1"],
            "after": 1.0,
        }
    }


def test_only_held_out_functions_ask_and_other_files_answer(servers):
    """A function's own file is no answer, and too few queries give no figure."""
    train, held_out = servers
    found = build_pattern_set(held_out, train)
    asking = {sample.chunk.path for sample in held_out}
    assert {str(found.paths[row]) for row in found.queries} == asking
    assert len(found.queries) >= MIN_PATTERN_QUERIES
    assert compare_patterns(held_out[:2], train, {"after": embed_by(["x", "y"])}) == {}


ERLANG = """-module(store).
-behaviour(gen_server).

%% @doc Reads what is kept under a key.
get(Key) ->
    Found = gen_server:call(?MODULE, {get, Key}),
    log(Found),
    Found.

handle_call({get, Key}, _From, State) ->
    Value = maps:get(Key, State, undefined),
    {reply, Value, State};
handle_call(stop, _From, State) ->
    {stop, normal, ok, State}.
"""


def test_erlang_counts_as_beam():
    """A module's callbacks are those of Elixir's behaviour; documentation and renamed code are read as Erlang is."""
    read, callback = select_samples(cut_chunks("src/store.erl", ERLANG)[0])
    assert (pattern_of(callback.chunk), callback.role) == ("GenServer.handle_call/3", "handle_call/3")
    assert language_family(callback) == BEAM
    assert read.sentence == "Reads what is kept under a key."
    assert ("gen_server:call(" in read.renamed, "log(" in read.renamed) == (True, False)
