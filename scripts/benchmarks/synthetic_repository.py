"""A synthetic repository of any size, as real files: Elixir modules and C++ sources in equal parts.

Each function is a template filled with names; the same number gives the same files on every
machine. Real enough to be cut, indexed and searched by the product; the quality of answers is
measured elsewhere, on real code.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from string import Template

FUNCTIONS_PER_FILE = 20
SEED = 7

_NOUNS = (
    "account address alert article asset basket batch bill booking branch broker budget cache campaign card carrier "
    "cart channel claim client cluster comment contact contract coupon course customer dataset deadline delivery "
    "deposit device discount document domain draft driver endpoint event export feature feed folder forecast gateway "
    "grant group header image import index invoice item job journal key label ledger lease license link listing "
    "location lock log member message metric mirror module monitor node notice offer order packet page parcel partner "
    "patch payment payout peer permit pipeline plan player policy pool post price profile project quota quote range "
    "rate receipt record refund region relay release report request reserve review role route rule sample schedule "
    "segment sensor session shard shipment signal site slot snapshot source stage stock stream subscription supplier "
    "survey task team template tenant thread ticket token topic track trade transfer tunnel upload user vault vendor "
    "voucher wallet warehouse webhook widget window worker zone"
)
_VERBS = (
    "apply archive assign audit balance build cancel check claim clear close collect compact confirm convert count "
    "create decode defer detach divide drain encode enqueue escape expand expire extract fetch fill flush format "
    "forward freeze group hide inspect join link list load lock map mask match measure merge move normalize notify "
    "open order pack parse patch persist prepare probe prune publish pull purge push queue rank read rebuild recover "
    "reduce refresh reject release rename render replace report reserve reset resolve restore retry revoke rotate "
    "route sample scale scan schedule seal select send shift sign sort split stage start stop store sum sync tag "
    "trace track trim unlock update upload validate verify warm watch weigh wrap write"
)
_FIELDS = (
    "amount attempts balance body bytes capacity code color count created_at currency cursor delay depth due_at email "
    "expires_at flags height host id index kind latency length level limit locale name offset owner parent path phase "
    "port position prefix priority quantity rank ratio reason retries score sequence size slug speed stamp state "
    "status tags threshold timeout title total updated_at url value version volume weight width"
)

NOUNS, VERBS, FIELDS = (tuple(words.split()) for words in (_NOUNS, _VERBS, _FIELDS))

ELIXIR = (
    """  @doc "${verb} every $noun whose $field is above a limit."
  def ${verb}_${noun}s(${noun}s, limit) do
    ${noun}s
    |> Enum.filter(&(&1.$field > limit))
    |> Enum.map(fn $noun -> %{$noun | $other: $noun.$field * $number} end)
    |> Enum.sort_by(& &1.$other, :desc)
  end
""",
    """  def ${verb}_$noun(%{$field: $field} = $noun, opts \\\\ []) do
    timeout = Keyword.get(opts, :timeout, $number)

    case $Second.${second_verb}($noun, timeout) do
      {:ok, $other} -> {:ok, Map.put($noun, :$other, $other)}
      {:error, :timeout} -> {:error, {:${noun}_timeout, $field}}
      {:error, reason} -> {:error, reason}
    end
  end
""",
    """  def handle_call({:${verb}_$noun, id}, _from, %{${noun}s: ${noun}s} = state) do
    case Map.fetch(${noun}s, id) do
      {:ok, $noun} ->
        updated = %{$noun | $field: $noun.$field + $number}
        {:reply, {:ok, updated}, %{state | ${noun}s: Map.put(${noun}s, id, updated)}}

      :error ->
        {:reply, {:error, :not_found}, state}
    end
  end
""",
    """  def ${verb}_${noun}_changeset($noun, attrs) do
    $noun
    |> cast(attrs, [:$field, :$other, :${second}_id])
    |> validate_required([:$field])
    |> validate_number(:$other, greater_than: $number)
    |> foreign_key_constraint(:${second}_id)
    |> unique_constraint(:$field)
  end
""",
    """  defp ${verb}_$noun([], acc), do: Enum.reverse(acc)

  defp ${verb}_$noun([%{$field: nil} | rest], acc), do: ${verb}_$noun(rest, acc)

  defp ${verb}_$noun([%{$field: $field} = $noun | rest], acc) when $field > $number do
    ${verb}_$noun(rest, [{$field, $noun.$other} | acc])
  end

  defp ${verb}_$noun([_ | rest], acc), do: ${verb}_$noun(rest, acc)
""",
    """  def list_${noun}s_by_$field(%$Noun{} = $noun, $field) do
    $Noun
    |> join(:inner, [n], s in $Second, on: s.${noun}_id == n.id)
    |> where([n, s], n.$field == ^$field and s.$other > $number)
    |> order_by([n], desc: n.$other)
    |> limit($number)
    |> Repo.all()
  end
""",
    """  def ${verb}_with_retry($noun, attempts) when attempts > 0 do
    case ${second_verb}_$second($noun.$field) do
      {:ok, result} ->
        result

      {:error, reason} ->
        Logger.warning("$verb of $noun failed: #{inspect(reason)}")
        Process.sleep($number * attempts)
        ${verb}_with_retry($noun, attempts - 1)
    end
  end
""",
    """  def ${verb}_$noun(conn, %{"id" => id, "$noun" => params}) do
    $noun = $Second.get_$noun!(id)

    with {:ok, %$Noun{} = $noun} <- $Second.${verb}_$noun($noun, params) do
      conn
      |> put_status(:ok)
      |> put_flash(:info, "$Noun: $field saved")
      |> redirect(to: ~p"/${second}s/#{$noun.$other}")
    end
  end
""",
    """  def ${noun}_${field}_total(${noun}s) do
    Enum.reduce(${noun}s, %{}, fn %{$field: key, $other: value}, totals ->
      Map.update(totals, key, value, &(&1 + value * $number))
    end)
  end
""",
    """  def ${verb}_$noun(<<$field::unsigned-size(16), length::size(8), rest::binary>>) do
    <<$other::binary-size(length), tail::binary>> = rest
    {%$Noun{$field: $field, $other: $other, checksum: rem($field, $number)}, tail}
  end
""",
)

CPP = (
    """// Drops every $noun whose $field is below the limit, and says how many are left.
std::size_t ${verb}_${noun}s(std::vector<$Noun>& ${noun}s, int limit) {
  auto end = std::remove_if(${noun}s.begin(), ${noun}s.end(),
                            [limit](const $Noun& $noun) { return $noun.$field < limit; });
  ${noun}s.erase(end, ${noun}s.end());
  return ${noun}s.size() * $number;
}
""",
    """std::optional<$Noun> $Second::$verb$Noun(const std::string& $field) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = ${noun}s_.find($field);
  if (found == ${noun}s_.end()) {
    return std::nullopt;
  }
  $Noun copy = found->second;
  copy.$other += $number;
  return copy;
}
""",
    """Status $Second::$verb$Noun($Noun* $noun, int timeout_ms) {
  for (int attempt = 0; attempt < $number; ++attempt) {
    Status status = ${second_verb}_${second}($noun->$field, timeout_ms);
    if (status.ok()) {
      $noun->$other = status.value();
      return status;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(timeout_ms << attempt));
  }
  return Status::Unavailable("$verb $noun: no attempt succeeded");
}
""",
    """template <typename Iterator>
double ${verb}_${noun}_$field(Iterator first, Iterator last) {
  double total = 0.0;
  for (; first != last; ++first) {
    total += static_cast<double>(first->$field) * first->$other;
  }
  return total / $number.0;
}
""",
    """bool operator<(const $Noun& left, const $Noun& right) {
  if (left.$field != right.$field) {
    return left.$field < right.$field;
  }
  return left.$other < right.$other + $number;
}
""",
    """void $Second::$verb$Noun(std::span<const std::uint8_t> bytes) {
  std::size_t offset = 0;
  while (offset + $number < bytes.size()) {
    const auto $field = read_u16(bytes, offset);
    offset += sizeof(std::uint16_t);
    switch ($field % 4) {
      case 0: ${noun}s_.push_back($Noun{$field, bytes[offset]}); break;
      case 1: ${second_verb}_$other($field); break;
      default: throw std::runtime_error("unknown $noun");
    }
  }
}
""",
    """std::string ${verb}_${noun}_to_json(const $Noun& $noun) {
  std::ostringstream out;
  out << "{\\"$field\\": " << $noun.$field << ", \\"$other\\": \\"" << escape($noun.$other) << "\\"";
  for (const auto& $second : $noun.${second}s) {
    out << ", \\"" << $second.name << "\\": " << $second.weight / $number;
  }
  out << "}";
  return out.str();
}
""",
    """std::unordered_map<std::string, int> ${verb}_${noun}s_by_$field(const std::vector<$Noun>& ${noun}s) {
  std::unordered_map<std::string, int> counts;
  for (const auto& $noun : ${noun}s) {
    if ($noun.$other > $number) {
      ++counts[$noun.$field];
    }
  }
  return counts;
}
""",
    """std::shared_ptr<$Noun> $Second::${verb}Or$second_verb(std::uint64_t $field) {
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return !queue_.empty() || closed_; });
  if (closed_) {
    return nullptr;
  }
  auto $noun = std::move(queue_.front());
  queue_.pop_front();
  $noun->$other = $field % $number;
  return $noun;
}
""",
    """int ${verb}_$noun(const $Noun* ${noun}s, int count, int $field) {
  int low = 0;
  int high = count - $number;
  while (low <= high) {
    const int middle = low + (high - low) / 2;
    if (${noun}s[middle].$other == $field) return middle;
    if (${noun}s[middle].$other < $field) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
""",
)


def write_repository(root: Path, functions: int, first: int = 0) -> None:
    """Writes so many functions below `root`, in files of twenty; `first` numbers the first file."""
    for number in range(first, first + -(-functions // FUNCTIONS_PER_FILE)):
        path, text = source_file(number)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def source_file(number: int) -> tuple[str, str]:
    """The relative path and the text of a file by its number; even ones are Elixir."""
    chance = random.Random(SEED * 1_000_003 + number)  # the same files everywhere
    elixir = number % 2 == 0
    area, noun = chance.choice(NOUNS), chance.choice(NOUNS)
    templates = ELIXIR if elixir else CPP
    body = [function(chance.choice(templates), chance) for _ in range(FUNCTIONS_PER_FILE)]
    if elixir:
        head = f"defmodule {area.title()}.{noun.title()}{number} do\n"
        return f"lib/{area}/{noun}_{number}.ex", head + "\n".join(body) + "end\n"
    head = f'#include "{area}/{noun}.h"\n\nnamespace {area} {{\n\n'
    return f"src/{area}/{noun}_{number}.cc", head + "\n".join(body) + f"\n}}  // namespace {area}\n"


def function(template: str, chance: random.Random) -> str:
    """A template with names drawn from the vocabulary."""
    noun, second = chance.sample(NOUNS, 2)
    field, other = chance.sample(FIELDS, 2)
    verb, second_verb = chance.sample(VERBS, 2)
    names = {"noun": noun, "Noun": noun.title(), "second": second, "Second": second.title()}
    values = {"field": field, "other": other, "verb": verb, "second_verb": second_verb}
    return Template(template).substitute(**names, **values, number=chance.randrange(2, 100))


def functions(count: int, first: int) -> Iterator[tuple[str, str]]:
    """Functions that no file of a smaller number holds, each with its language."""
    chance = random.Random(first)
    for number in range(count):
        elixir = number % 2 == 0
        yield "elixir" if elixir else "cpp", function(chance.choice(ELIXIR if elixir else CPP), chance)
