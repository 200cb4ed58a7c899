#!/usr/bin/env escript
%% The ledger of a shop.
-module(ledger).
-behaviour(gen_server).
-export([start_link/0, add/2]).
-include("ledger.hrl").

-record(state, {balance = 0 :: integer(),
                entries = [] :: [entry()],
                limit :: integer() | undefined}).
-define(LOG(Format, Arguments),
        begin
            io:format(Format, Arguments)
        end).
-type entry() ::
        {atom(), integer()}
      | {atom(), integer(), binary()}.
-callback posted(Entry :: entry()) -> ok.

start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

init([]) ->
    {ok, #state{}}.

-doc "Adds an amount to the balance of an account.".
-spec add(atom(), integer()) -> {ok, integer()} | error.
add(Account, Amount) when is_integer(Amount), Amount > 0 ->
    Sum = lists:sum([balance(Account), Amount]),
    case Sum of
        0 -> error;
        _ -> {ok, Sum}
    end;
% Nothing else can be added.
add(_Account, _Amount) ->
    error.

add(Account) ->
    Retry = fun Again(0) -> error; Again(N) -> Again(N - 1) end,
    try balance(Account) catch throw:_ -> Retry(3) end.

'odd name'(X) ->
    ?LOG("~p~n", [X]),
    receive {done, Y} -> 'odd name'(Y) after 10 -> ok end.

main(_Arguments) ->
    ok.
